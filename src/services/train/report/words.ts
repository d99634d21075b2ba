// Numbers and foreign text as the report writes them: short, and safe inside HTML.

/** Characters of a name or value that are shown. */
const TEXT_MAX = 80

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** Any text as HTML text or as a quoted attribute's value; control characters become U+FFFD. */
export const escapeHtml = (text: string): string =>
  text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd")
    .replace(/[&<>"']/g, (character) => entities[character])

/** Text from the data: cut to a bound, escaped, and kept from turning the direction of what stands around it. */
export const foreign = (text: string): string => {
  const characters = [...text.slice(0, 4 * TEXT_MAX)]
  const cut =
    characters.length > TEXT_MAX ? `${characters.slice(0, TEXT_MAX - 1).join("")}…` : characters.join("")
  return `<bdi>${escapeHtml(cut)}</bdi>`
}

/** `1,234,567`. */
export const countText = (value: number): string => Math.round(value).toLocaleString("en-US")

/** Three significant digits; `–` where there is no number. */
export const numberText = (value: number | null): string => {
  if (value === null || !Number.isFinite(value)) return "–"
  const size = Math.abs(value)
  if (size !== 0 && (size >= 1e7 || size < 1e-4))
    return value.toExponential(1).replaceAll("-", "−").replace("+", "")
  const rounded = size >= 1_000 ? countText(value) : String(Number(value.toPrecision(3)))
  return rounded.replace("-", "−")
}

/** A share of one as per cent, with as many digits as a small one needs: `97.5 %`, `0.012 %`. */
export const shareText = (share: number): string => {
  if (!Number.isFinite(share)) return "–"
  const percent = share * 100
  return `${percent >= 0.1 || percent === 0 ? Number(percent.toFixed(1)) : Number(percent.toPrecision(2))} %`
}

/** A moment in UTC to the second. */
export const dateText = (millis: number): string =>
  new Date(millis).toISOString().slice(0, 19).replace("T", " ")
