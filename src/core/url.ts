/** Addresses that this server may ask: http or https, without credentials and without a query. */

export function isUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return ["http:", "https:"].includes(protocol) && `${username}${password}${search}${hash}` === "";
}
