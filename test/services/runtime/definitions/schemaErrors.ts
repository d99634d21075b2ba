// A JSON Schema (draft 7) checker for the words that our published schemas use; any other word is an error.

type Schema = Readonly<Record<string, unknown>>

const annotations = new Set(["$schema", "$defs", "title", "description", "examples", "default"])

/** Every violation of `schema` by `value`, as `path: word`; empty where the value is taken. */
export const schemaErrors = (schema: Schema, value: unknown): ReadonlyArray<string> =>
  check(schema, schema, value, "$")

const check = (root: Schema, schema: Schema, value: unknown, path: string): ReadonlyArray<string> => {
  const errors: Array<string> = []
  for (const [word, rule] of Object.entries(schema)) {
    if (annotations.has(word)) continue
    const test = words[word]
    if (test === undefined) throw new Error(`the schema uses \`${word}\`, which this checker does not know`)
    errors.push(...test(rule as never, value, path, root, schema))
  }
  return errors
}

type Word = (rule: never, value: unknown, path: string, root: Schema, schema: Schema) => ReadonlyArray<string>

const unless = (ok: boolean, path: string, word: string): ReadonlyArray<string> =>
  ok ? [] : [`${path}: ${word}`]
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const types: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
  boolean: (value) => typeof value === "boolean"
}

const words: Readonly<Record<string, Word | undefined>> = {
  type: (rule: string, value, path) => unless(types[rule](value), path, "type"),
  enum: (rule: ReadonlyArray<unknown>, value, path) => unless(rule.includes(value), path, "enum"),
  pattern: (rule: string, value, path) =>
    unless(typeof value !== "string" || new RegExp(rule, "u").test(value), path, "pattern"),
  minLength: (rule: number, value, path) =>
    unless(typeof value !== "string" || value.length >= rule, path, "minLength"),
  maxLength: (rule: number, value, path) =>
    unless(typeof value !== "string" || value.length <= rule, path, "maxLength"),
  minimum: (rule: number, value, path) => unless(typeof value !== "number" || value >= rule, path, "minimum"),
  maximum: (rule: number, value, path) => unless(typeof value !== "number" || value <= rule, path, "maximum"),
  minItems: (rule: number, value, path) =>
    unless(!Array.isArray(value) || value.length >= rule, path, "minItems"),
  maxItems: (rule: number, value, path) =>
    unless(!Array.isArray(value) || value.length <= rule, path, "maxItems"),
  minProperties: (rule: number, value, path) =>
    unless(!isObject(value) || Object.keys(value).length >= rule, path, "minProperties"),
  maxProperties: (rule: number, value, path) =>
    unless(!isObject(value) || Object.keys(value).length <= rule, path, "maxProperties"),
  required: (rule: ReadonlyArray<string>, value, path) =>
    isObject(value) ? rule.flatMap((key) => unless(key in value, `${path}.${key}`, "required")) : [],
  properties: (rule: Readonly<Record<string, Schema>>, value, path, root) =>
    isObject(value)
      ? Object.entries(rule).flatMap(([key, inner]) =>
          key in value ? check(root, inner, value[key], `${path}.${key}`) : []
        )
      : [],
  patternProperties: (rule: Readonly<Record<string, Schema>>, value, path, root) =>
    isObject(value)
      ? Object.entries(value).flatMap(([key, item]) =>
          Object.entries(rule).flatMap(([pattern, inner]) =>
            new RegExp(pattern, "u").test(key) ? check(root, inner, item, `${path}.${key}`) : []
          )
        )
      : [],
  propertyNames: (rule: Schema, value, path, root) =>
    isObject(value) ? Object.keys(value).flatMap((key) => check(root, rule, key, `${path}.${key}`)) : [],
  additionalProperties: (rule: boolean, value, path, _root, schema) => {
    if (rule || !isObject(value)) return []
    const known = new Set(Object.keys((schema.properties ?? {}) as object))
    return Object.keys(value).flatMap((key) =>
      unless(known.has(key), `${path}.${key}`, "additionalProperties")
    )
  },
  items: (rule: Schema, value, path, root) =>
    Array.isArray(value) ? value.flatMap((item, i) => check(root, rule, item, `${path}.${i}`)) : [],
  allOf: (rule: ReadonlyArray<Schema>, value, path, root) =>
    rule.flatMap((inner) => check(root, inner, value, path)),
  anyOf: (rule: ReadonlyArray<Schema>, value, path, root) =>
    unless(
      rule.some((inner) => check(root, inner, value, path).length === 0),
      path,
      "anyOf"
    ),
  oneOf: (rule: ReadonlyArray<Schema>, value, path, root) =>
    unless(rule.filter((inner) => check(root, inner, value, path).length === 0).length === 1, path, "oneOf"),
  $ref: (rule: string, value, path, root) => {
    const definitions = root.$defs as Readonly<Record<string, Schema>>
    return check(root, definitions[rule.replace("#/$defs/", "")], value, path)
  }
}
