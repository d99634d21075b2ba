// The keys of the runner's configuration: what each holds, and the environment variable that overrides it.
import { Option, SchemaAST } from "effect"

export type SettingKind = "text" | "number" | "boolean" | "duration" | "list" | "secret"

export interface SettingKey {
  /** Keys from the top. */
  readonly path: ReadonlyArray<string>
  readonly kind: SettingKind
  /** `GROUNDSTATE_HTTP_PORT` for `http.port`. */
  readonly variable: string
}

export const VARIABLE_PREFIX = "GROUNDSTATE_"
/** A variable with this ending names a file whose text is the value. */
export const FILE_SUFFIX = "_FILE"

/** `http.bodyBytesMax` → `GROUNDSTATE_HTTP_BODY_BYTES_MAX`. */
export const variableOf = (path: ReadonlyArray<string>): string =>
  VARIABLE_PREFIX + path.map((key) => key.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()).join("_")

/** Every key of a struct's written form that holds a value, in the order of the schema. */
export const settingKeys = (ast: SchemaAST.AST): ReadonlyArray<SettingKey> => {
  const keys: Array<SettingKey> = []
  walk(ast, [], keys)
  return keys
}

const walk = (ast: SchemaAST.AST, path: ReadonlyArray<string>, keys: Array<SettingKey>): void => {
  const leaf = (kind: SettingKind) => keys.push({ path, kind, variable: variableOf(path) })
  switch (ast._tag) {
    case "TypeLiteral":
      for (const property of ast.propertySignatures)
        walk(property.type, [...path, String(property.name)], keys)
      return
    case "Union": {
      const members = ast.types.filter((type) => type._tag !== "UndefinedKeyword")
      if (members.length === 1) walk(members[0], path, keys)
      else leaf("text")
      return
    }
    case "Refinement":
      walk(ast.from, path, keys)
      return
    case "Transformation":
      if (Option.contains(SchemaAST.getIdentifierAnnotation(ast.from), "Duration")) leaf("duration")
      else if (ast.to._tag === "Declaration") leaf("secret")
      else walk(ast.from, path, keys)
      return
    case "TupleType":
      leaf("list")
      return
    case "NumberKeyword":
      leaf("number")
      return
    case "BooleanKeyword":
      leaf("boolean")
      return
    default:
      leaf("text")
  }
}

/** A variable's text as the value that YAML would have held; what does not fit stays text for the schema to refuse. */
export const valueFromText = (kind: SettingKind, text: string): unknown => {
  switch (kind) {
    case "number":
      return /^[+-]?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text
    case "boolean": {
      const word = text.trim().toLowerCase()
      return word === "true" ? true : word === "false" ? false : text
    }
    case "list":
      return text
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== "")
    case "duration":
      return text.trim()
    case "text":
    case "secret":
      return text
  }
}

/** The value at a path of plain maps; undefined where there is none. */
export const valueAt = (value: unknown, path: ReadonlyArray<PropertyKey>): unknown => {
  let at = value
  for (const key of path) {
    if (typeof at !== "object" || at === null) return undefined
    at = (at as Record<PropertyKey, unknown>)[key]
  }
  return at
}

/** A copy with the value at a path set; maps on the way are made where there are none. */
export const withValue = (value: unknown, path: ReadonlyArray<string>, set: unknown): unknown => {
  if (path.length === 0) return set
  const [key, ...rest] = path
  const map =
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : {}
  return { ...map, [key]: withValue(map[key], rest, set) }
}
