// Reads a table of rows from CSV or JSON lines, plain or gzipped, without ever losing count of a row.
import { createReadStream } from "node:fs"
import { createGunzip } from "node:zlib"

/** A cell as it was written; null and undefined are missing. */
export type Cell = string | number | boolean | null | undefined

/** One row of the file. `cells` are in the order of the reader's `names`; undefined where the row is broken. */
export interface TableRow {
  /** Line on which the row starts, from 1. */
  readonly line: number
  readonly cells: ReadonlyArray<Cell> | undefined
  /** Why the row is broken. */
  readonly fault?: string
}

export interface TableReader {
  readonly format: "csv" | "jsonl"
  readonly header: boolean
  /** Column names; in JSON lines the list grows as rows bring new ones. */
  readonly names: ReadonlyArray<string>
  /** The rows, in lots; each lot is its own. Throws what the file system or gzip throws. */
  readonly lots: () => AsyncGenerator<ReadonlyArray<TableRow>, void, void>
}

export interface ReaderOptions {
  /** `auto`: a first line is a header if it names the label, or if none of its cells is a number. */
  readonly header?: boolean | "auto" | undefined
  readonly label?: string | undefined
  /** Names known beforehand: columns of a model that scores the table. */
  readonly names?: ReadonlyArray<string> | undefined
}

/** A quoted cell that is still open after this many lines, or characters, was never meant as one. */
const OPEN_LINES_MAX = 64
const OPEN_CHARACTERS_MAX = 1_000_000
/** A line beyond this is a broken row: it is cut off here, so that no file can fill the memory with one. */
const LINE_CHARACTERS_MAX = 16_000_000
const JSON_DEPTH_MAX = 8

const missing = new Set(["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?"])

/** True of what stands for no value: nothing, NA, N/A, NaN, null, None and ?. */
export const isMissing = (cell: Cell): boolean =>
  cell === null || cell === undefined || (typeof cell === "string" && missing.has(cell.trim()))

/** The number a cell holds, infinities included; NaN if it holds none. */
export const numberIn = (cell: Cell): number => {
  if (typeof cell === "number") return cell
  if (typeof cell === "boolean") return cell ? 1 : 0
  if (cell === null || cell === undefined) return Number.NaN
  const text = cell.trim()
  if (text === "") return Number.NaN
  const value = Number(text)
  if (!Number.isNaN(value)) return value
  const infinite = /^([+-]?)inf(inity)?$/i.exec(text)
  return infinite === null
    ? Number.NaN
    : infinite[1] === "-"
      ? Number.NEGATIVE_INFINITY
      : Number.POSITIVE_INFINITY
}

async function* lines(path: string): AsyncGenerator<ReadonlyArray<string>, void, void> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 })
  const stream = path.endsWith(".gz") ? file.pipe(createGunzip()) : file
  // An error of the file does not travel through pipe by itself.
  if (stream !== file) file.on("error", (cause) => stream.destroy(cause))
  const decoder = new TextDecoder("utf-8")
  let rest = ""
  try {
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk as Buffer, { stream: true })).split("\n")
      rest = (parts.pop() as string).slice(0, LINE_CHARACTERS_MAX)
      yield parts.map(withoutReturn)
    }
    rest += decoder.decode()
    if (rest !== "") yield [withoutReturn(rest)]
  } finally {
    file.destroy()
  }
}

const withoutReturn = (line: string) => (line.endsWith("\r") ? line.slice(0, -1) : line)

/**
 * Cells of one logical row; undefined where a quoted cell is not closed. Only a quote at a cell's start opens
 * one, and `""` inside stands for a quote; anything else is taken as it is.
 */
export const splitRow = (text: string, delimiter: string): ReadonlyArray<string> | undefined => {
  if (!text.includes('"')) return text.split(delimiter)
  const cells: Array<string> = []
  let at = 0
  for (;;) {
    let cell = ""
    if (text[at] === '"') {
      at++
      for (;;) {
        const quote = text.indexOf('"', at)
        if (quote < 0) return undefined
        cell += text.slice(at, quote)
        at = quote + 1
        if (text[at] !== '"') break
        cell += '"'
        at++
      }
    }
    const end = text.indexOf(delimiter, at)
    cells.push(cell + (end < 0 ? text.slice(at) : text.slice(at, end)))
    if (end < 0) return cells
    at = end + 1
  }
}

const delimiterOf = (line: string): string => {
  const bare = line.replace(/"[^"]*"/g, "")
  const counts = [",", ";", "\t", "|"].map((mark) => [mark, bare.split(mark).length] as const)
  return counts.reduce((best, next) => (next[1] > best[1] ? next : best))[0]
}

/** Header cells as names: unnamed ones become `column<n>`, repeated ones get a number. */
const namesOf = (cells: ReadonlyArray<string>): ReadonlyArray<string> => {
  const taken = new Set<string>()
  return cells.map((cell, at) => {
    const base = cell.trim() === "" ? `column${at + 1}` : cell.trim()
    let name = base
    for (let copy = 2; taken.has(name); copy++) name = `${base}_${copy}`
    taken.add(name)
    return name
  })
}

const looksLikeHeader = (cells: ReadonlyArray<string>, options: ReaderOptions): boolean => {
  const known = new Set([...(options.names ?? []), ...(options.label === undefined ? [] : [options.label])])
  const trimmed = cells.map((cell) => cell.trim())
  if (trimmed.some((cell) => known.has(cell) && Number.isNaN(Number(cell)))) return true
  // Data frames saved without names count their columns: 0, 1, 2, …
  const counted = trimmed.filter(
    (cell, at) => cell !== "" && (Number(cell) === at || Number(cell) === at - 1)
  ).length
  const numbers = trimmed.filter((cell) => cell !== "" && !Number.isNaN(Number(cell))).length
  if (numbers > 0) return numbers > 1 && counted === numbers && numbers >= trimmed.length - 1
  return new Set(trimmed).size === trimmed.length || trimmed.every((cell) => cell === "")
}

const stripMark = (line: string) => (line.charCodeAt(0) === 0xfeff ? line.slice(1) : line)

const isJsonLines = (path: string) => /\.(jsonl|ndjson|json)(\.gz)?$/i.test(path)

/** Opens a table. Throws what the file system throws, also for a missing file. */
export const openTable = async (path: string, options: ReaderOptions = {}): Promise<TableReader> =>
  isJsonLines(path) ? jsonReader(path, options) : csvReader(path, options)

const firstLine = async (path: string): Promise<string | undefined> => {
  for await (const lot of lines(path)) {
    const line = lot.map(stripMark).find((candidate) => candidate.trim() !== "")
    if (line !== undefined) return line
  }
  return undefined
}

const csvReader = async (path: string, options: ReaderOptions): Promise<TableReader> => {
  const first = (await firstLine(path)) ?? ""
  const delimiter = delimiterOf(first)
  const cells = splitRow(first, delimiter) ?? first.split(delimiter)
  const auto = options.header === undefined || options.header === "auto"
  const header = first !== "" && (auto ? looksLikeHeader(cells, options) : options.header === true)
  const names = header ? namesOf(cells) : cells.map((_, at) => `column${at + 1}`)
  return { format: "csv", header, names, lots: () => csvLots(path, delimiter, header, names.length) }
}

async function* csvLots(path: string, delimiter: string, header: boolean, width: number) {
  const open: Array<string> = []
  let openLine = 0
  let skip = header
  const settle = (line: number, cells: ReadonlyArray<string>, out: Array<TableRow>) => {
    if (skip) skip = false
    else if (cells.length === width) out.push({ line, cells })
    else out.push({ line, cells: undefined, fault: `${cells.length} cells where ${width} are expected` })
  }
  /** Gives up the open cell: its first line is a broken row, the lines after it are rows again. */
  const giveUp = (out: Array<TableRow>) => {
    const [, ...again] = open.splice(0)
    const from = openLine
    out.push({ line: from, cells: undefined, fault: "a quoted cell is never closed" })
    again.forEach((line, at) => {
      take(line, from + 1 + at, out)
    })
  }
  const take = (line: string, number: number, out: Array<TableRow>): void => {
    if (open.length === 0) {
      if (line.trim() === "") return
      if (line.length >= LINE_CHARACTERS_MAX) {
        out.push({
          line: number,
          cells: undefined,
          fault: `a line of more than ${LINE_CHARACTERS_MAX} characters`
        })
        return
      }
      const cells = splitRow(line, delimiter)
      if (cells !== undefined) settle(number, cells, out)
      else {
        open.push(line)
        openLine = number
      }
      return
    }
    open.push(line)
    const text = open.join("\n")
    const cells = splitRow(text, delimiter)
    if (cells?.length === width) {
      open.length = 0
      settle(openLine, cells, out)
    } else if (cells !== undefined || open.length >= OPEN_LINES_MAX || text.length >= OPEN_CHARACTERS_MAX)
      giveUp(out)
  }
  let number = 0
  for await (const lot of lines(path)) {
    const out: Array<TableRow> = []
    for (const line of lot) {
      number++
      take(number === 1 ? stripMark(line) : line, number, out)
    }
    if (out.length > 0) yield out
  }
  const out: Array<TableRow> = []
  while (open.length > 0) giveUp(out)
  if (out.length > 0) yield out
}

/** Lays an object's scalars out by name; `a.b` for nested ones. Lists count as missing: they are no one value. */
const flatten = (
  value: object,
  prefix: string,
  depth: number,
  put: (name: string, cell: Cell) => void
): void => {
  for (const [key, inner] of Object.entries(value)) {
    const name = prefix + key
    if (inner === null || typeof inner !== "object") put(name, inner as Cell)
    else if (!Array.isArray(inner) && depth < JSON_DEPTH_MAX) flatten(inner, `${name}.`, depth + 1, put)
  }
}

const jsonReader = (path: string, options: ReaderOptions): TableReader => {
  const names: Array<string> = [...(options.names ?? [])]
  const places = new Map(names.map((name, at) => [name, at]))
  const grows = options.names === undefined
  const parse = (text: string, line: number): TableRow => {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      return { line, cells: undefined, fault: "not a JSON value" }
    }
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
      return { line, cells: undefined, fault: "not a JSON object" }
    }
    const cells: Array<Cell> = new Array(names.length)
    flatten(value, "", 0, (name, cell) => {
      let place = places.get(name)
      if (place === undefined) {
        if (!grows && name !== options.label) return
        place = names.push(name) - 1
        places.set(name, place)
      }
      cells[place] = cell
    })
    return { line, cells }
  }
  async function* lots() {
    let number = 0
    for await (const lot of lines(path)) {
      const out: Array<TableRow> = []
      for (const text of lot) {
        number++
        const bare = number === 1 ? stripMark(text) : text
        if (bare.trim() !== "") out.push(parse(bare, number))
      }
      if (out.length > 0) yield out
    }
  }
  return { format: "jsonl", header: false, names, lots }
}
