/** Repeatable randomness: a number for each seed and place. Knows nothing of what it is for. */

/** An integer from 0 to 2^53 - 1 for each pair: the finaliser of SplitMix64 (Steele et al. 2014) over both. */
export function mix(seed: number, place: number): number {
  let z = BigInt.asUintN(64, BigInt(seed) + (BigInt(place) + 1n) * 0x9e3779b97f4a7c15n);
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return Number((z ^ (z >> 31n)) >> 11n);
}

/** A number in [0, 1) for each pair. */
export function uniform(seed: number, place: number): number {
  return mix(seed, place) / 2 ** 53;
}
