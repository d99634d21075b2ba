// Colour for terminals, and what keeps foreign text from steering them.

const wrap = (open: number, close: number) => (text: string) => `\u001b[${open}m${text}\u001b[${close}m`
const plain = (text: string) => text

export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

const coloured: Paint = {
  bold: wrap(1, 22),
  dim: wrap(2, 22),
  red: wrap(31, 39),
  green: wrap(32, 39),
  yellow: wrap(33, 39),
  cyan: wrap(36, 39)
}
const uncoloured: Paint = { bold: plain, dim: plain, red: plain, green: plain, yellow: plain, cyan: plain }

/** Functions that colour a text, or leave it alone. */
export const paintFor = (colour: boolean): Paint => (colour ? coloured : uncoloured)

/** The text without SGR escape sequences (ECMA-48 8.3.117). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what it looks for
export const unpainted = (text: string): string => text.replace(/\u001b\[[0-9;]*m/g, "")

/**
 * Text from elsewhere (device ids, category values, messages) made safe for a terminal: control characters
 * and bidirectional overrides become visible escapes, so that nobody's device name moves the cursor.
 */
export const printable = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0)
    return code === 10 ? "\\n" : code === 9 ? "\\t" : `\\u${code.toString(16).padStart(4, "0")}`
  })

const isWide = (code: number): boolean =>
  (code >= 0x1100 && code <= 0x115f) ||
  (code >= 0x2e80 && code <= 0xa4cf) ||
  (code >= 0xac00 && code <= 0xd7a3) ||
  (code >= 0xf900 && code <= 0xfaff) ||
  (code >= 0xfe30 && code <= 0xfe6f) ||
  (code >= 0xff00 && code <= 0xff60) ||
  (code >= 0xffe0 && code <= 0xffe6) ||
  (code >= 0x1f300 && code <= 0x1faff) ||
  (code >= 0x20000 && code <= 0x3fffd)

/** Terminal cells that the text takes: escape sequences and combining marks 0, wide characters 2. */
export const cellWidth = (text: string): number => {
  let width = 0
  for (const character of unpainted(text)) {
    if (/\p{Mn}|\u200d|\ufe0f/u.test(character)) continue
    width += isWide(character.codePointAt(0) as number) ? 2 : 1
  }
  return width
}

/** At most `width` cells of an unpainted text; what was cut is marked with `…`. */
export const cutTo = (text: string, width: number): string => {
  if (cellWidth(text) <= width) return text
  if (width <= 0) return ""
  let kept = ""
  let used = 0
  for (const character of text) {
    const cells = cellWidth(character)
    if (used + cells > width - 1) break
    kept += character
    used += cells
  }
  return `${kept}…`
}

/** The text filled with spaces to `width` cells. */
export const padTo = (text: string, width: number, align: "left" | "right" = "left"): string => {
  const space = " ".repeat(Math.max(0, width - cellWidth(text)))
  return align === "left" ? text + space : space + text
}
