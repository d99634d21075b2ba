// Versions of records as entity tags (RFC 9110, 8.8.3), and the conditions that requests put on them.

/** `"7"`. */
export const etagOf = (version: number): string => `"${version}"`

/** What `If-Match` asks: nothing, this version, or something that can't be meant. */
export type Condition =
  | { readonly _tag: "None" }
  | { readonly _tag: "Version"; readonly version: number }
  | { readonly _tag: "Malformed" }

/** `*` and an absent header put no condition: the record's existence is checked anyway. */
export const readIfMatch = (header: string | undefined): Condition => {
  const text = header?.trim()
  if (text === undefined || text === "*") return { _tag: "None" }
  const digits = /^(?:W\/)?"(\d{1,15})"$/.exec(text)
  return digits === null ? { _tag: "Malformed" } : { _tag: "Version", version: Number(digits[1]) }
}
