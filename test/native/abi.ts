/** Reads C declarations and compares them with each other and with FFI tables. Opens no library. */

export interface Declaration {
  /** The header of mlx-c without ".h". */
  readonly group: string;
  readonly name: string;
  /** The whole declaration with single spaces. */
  readonly text: string;
  readonly returns: string;
  /** C types without the names of the arguments. */
  readonly args: readonly string[];
}

export type Declarations = ReadonlyMap<string, Declaration>;

interface Entry {
  readonly args: readonly string[];
  readonly returns: string;
}

export type Tables = Readonly<Record<string, Readonly<Record<string, Entry>>>>;

/** Reads mlx-c-signatures.txt ("## ops.h", one declaration a line) and mlxc.h ("/* ops.h *\/", each with ";"). */
export function parseDeclarations(text: string): Declarations {
  const declarations = new Map<string, Declaration>();
  let group = "";
  for (const line of text.split("\n")) {
    group = /^(?:## |\/\* )(\w+)\.h/.exec(line)?.[1] ?? group;
    const [, returns, name, args] = /^(\w[\w\s*]*?)\b(_?(?:mlx|bunsen)_\w+)\s*\((.*)\);?\s*$/.exec(line) ?? [];
    if (returns === undefined || name === undefined || args === undefined) continue;
    declarations.set(name, {
      group,
      name,
      text: normalise(line),
      returns: normalise(returns),
      args: splitArguments(args).map(typeOf),
    });
  }
  return declarations;
}

/** What is wrong with our header: each function must be in the ABI, in the same group and of the same text. */
export function checkHeader(header: Declarations, abi: Declarations): string[] {
  return [...header.values()].flatMap((ours) => {
    if (ours.name.startsWith("bunsen_")) return [];
    const theirs = abi.get(ours.name);
    if (theirs === undefined) return [`${ours.name} is not in the ABI`];
    const problems = groupProblem(ours.name, ours.group, theirs);
    return ours.text === theirs.text ? problems : [...problems, `${ours.text} is in the ABI as ${theirs.text}`];
  });
}

/** What is wrong with a library: it exports what the header declares and nothing else. */
export function checkExports(exported: readonly string[], header: Declarations): string[] {
  const present = new Set(exported);
  return [
    ...exported.filter((name) => !header.has(name)).map((name) => `${name} is exported but not declared`),
    ...[...header.keys()].filter((name) => !present.has(name)).map((name) => `${name} is declared but not exported`),
  ];
}

/** What is wrong with FFI tables: each entry must be in its header's group and have the FFI form of the C types. */
export function checkTables(tables: Tables, declarations: Declarations): string[] {
  return Object.entries(tables).flatMap(([group, table]) =>
    Object.entries(table).flatMap(([name, entry]) => {
      const declaration = declarations.get(name);
      if (declaration === undefined) return [`${name} is not in the ABI`];
      return [...groupProblem(name, group, declaration), ...typeProblems(entry, declaration)];
    }),
  );
}

function groupProblem(name: string, group: string, declaration: Declaration): string[] {
  if (group === declaration.group) return [];
  return [`${name} stands under ${group}, in the ABI under ${declaration.group}`];
}

function typeProblems(entry: Entry, { name, args, returns }: Declaration): string[] {
  if (entry.args.length !== args.length)
    return [`${name} has ${entry.args.length} arguments, in the ABI ${args.length}`];
  const pairs = args.map((c_type, index) => ({ place: `argument ${index + 1}`, c_type, ffi: entry.args[index] }));
  return [...pairs, { place: "its result", c_type: returns, ffi: entry.returns }]
    .filter(({ c_type, ffi }) => ffi !== ffiType(c_type))
    .map(({ place, c_type, ffi }) => `${name}: ${place} is ${ffi}, in the ABI ${c_type}, that is ${ffiType(c_type)}`);
}

const ffi_types: Readonly<Record<string, string>> = {
  void: "void",
  bool: "bool",
  int: "i32",
  int32_t: "i32",
  uint32_t: "u32",
  int64_t: "i64",
  uint64_t: "u64",
  uintptr_t: "u64",
  size_t: "u64",
  float: "f32",
  double: "f64",
  mlx_dtype: "i32",
  mlx_device_type: "i32",
  mlx_compile_mode: "i32",
  mlx_fft_norm: "i32",
  mlx_optional_int: "u64",
  mlx_optional_float: "u64",
  mlx_optional_dtype: "u64",
  mlx_io_vtable: "nothing bun:ffi can pass",
};

/** The form in which bun:ffi passes a C type. A handle is a struct of one pointer, which travels as a pointer. */
function ffiType(c_type: string): string {
  if (c_type.includes("*")) return "ptr";
  const plain = c_type.replace(/^const /, "");
  return ffi_types[plain] ?? (/^(mlx|bunsen)_/.test(plain) ? "ptr" : `unknown (${plain})`);
}

/** "const mlx_array a" to "const mlx_array"; "void (*dtor)(void*)" to "void (*)(void*)". */
function typeOf(argument: string): string {
  if (argument.includes("(*")) return argument.replace(/\(\*\w*\)/, "(*)");
  return argument.replace(/(?<=[\s*])\w+$/, "").trim();
}

function splitArguments(list: string): string[] {
  const args: string[] = [];
  let depth = 0;
  let argument = "";
  for (const character of list) {
    depth += character === "(" ? 1 : character === ")" ? -1 : 0;
    if (character === "," && depth === 0) {
      args.push(normalise(argument));
      argument = "";
    } else argument += character;
  }
  args.push(normalise(argument));
  return args.filter((text) => text !== "" && text !== "void");
}

function normalise(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .replace(/ ?([(),*;]) ?/g, "$1")
    .replace(/(,|(?<!\()\*)(?=\w)/g, "$1 ")
    .replace(/;$/, "")
    .trim();
}
