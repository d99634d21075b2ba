// Reads event rows out of JSONL and CSV files, chunk by chunk, packed with gzip or not.
import { createReadStream } from "node:fs"
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { pipeline, type Readable } from "node:stream"
import { createGunzip } from "node:zlib"
import { parse } from "csv-parse"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { type CsvColumn, csvColumns, csvEvent } from "./csvEvent.ts"
import { deviceIsFile, fileDevice, holdsEvents, withFile } from "./fileDevice.ts"

export type ReplayFormat = "jsonl" | "csv"

/** One row: its bytes as an event, and the event itself where it was needed or known. */
export interface ReplayRow {
  readonly value: Uint8Array
  readonly event: unknown
}

export interface RowsOptions {
  readonly format?: ReplayFormat
  readonly plan?: StreamPlan
  /** CSV: between cells; `,` by default. */
  readonly delimiter?: string
  /** CSV: the columns of a file that has no header row. */
  readonly columns?: ReadonlyArray<string>
  /** Parse JSONL rows, for their device and time. */
  readonly parsed: boolean
  /** Bytes read at a time. */
  readonly chunkBytes: number
  /** A longer JSONL row is cut here, and then refused by the decoder; bounds the memory. */
  readonly rowBytesMax: number
}

/** The format of a file by its name. */
export const formatOf = (file: string): ReplayFormat => (/\.(csv|tsv)(\.gz)?$/i.test(file) ? "csv" : "jsonl")

/** Files named, and those in and below folders named, the latter sorted by path. Rejects where one is missing. */
export const listFiles = async (paths: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const files: Array<string> = []
  for (const path of paths) {
    if ((await stat(path)).isDirectory()) {
      const entries = await readdir(path, { recursive: true, withFileTypes: true })
      const inside = entries.filter((entry) => !entry.isDirectory() && holdsEvents(entry.name))
      files.push(...inside.map((entry) => join(entry.parentPath, entry.name)).sort())
    } else files.push(path)
  }
  return files
}

const openFile = (file: string, chunkBytes: number): Readable => {
  const plain = createReadStream(file, { highWaterMark: chunkBytes })
  if (!/\.gz$/i.test(file)) return plain
  const unpacked = createGunzip({ chunkSize: chunkBytes })
  // The error reaches whoever reads the last stream.
  pipeline(plain, unpacked, () => undefined)
  return unpacked
}

const untext = new TextDecoder()
const text = new TextEncoder()

const parseRow = (value: Uint8Array): unknown => {
  try {
    return JSON.parse(untext.decode(value))
  } catch {
    return undefined
  }
}

const NEWLINE = 10
const RETURN = 13

async function* jsonRows(file: string, options: RowsOptions): AsyncGenerator<ReadonlyArray<ReplayRow>> {
  let carry: Buffer = Buffer.alloc(0)
  let isCut = false
  const rows: Array<ReplayRow> = []
  const named = deviceIsFile(options.plan?.device) ? fileDevice(file) : undefined
  const add = (line: Buffer) => {
    const value = line[line.length - 1] === RETURN ? line.subarray(0, line.length - 1) : line
    if (value.length === 0) return
    const event = options.parsed || named !== undefined ? parseRow(value) : undefined
    if (named === undefined) rows.push({ value, event })
    else {
      const whole = withFile(value, event, named)
      rows.push({ value: whole, event: whole === value ? event : parseRow(whole) })
    }
  }
  for await (const chunk of openFile(file, options.chunkBytes) as AsyncIterable<Buffer>) {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const line = chunk.subarray(from, end)
      add(carry.length === 0 ? line : isCut ? carry : Buffer.concat([carry, line]))
      carry = Buffer.alloc(0)
      isCut = false
      from = end + 1
    }
    const rest = chunk.subarray(from)
    if (!isCut) carry = carry.length === 0 ? rest : Buffer.concat([carry, rest])
    if (carry.length > options.rowBytesMax) {
      carry = carry.subarray(0, options.rowBytesMax)
      isCut = true
    }
    if (rows.length > 0) yield rows.splice(0)
  }
  add(carry)
  if (rows.length > 0) yield rows
}

const CSV_ROWS = 512

async function* csvRows(file: string, options: RowsOptions): AsyncGenerator<ReadonlyArray<ReplayRow>> {
  const parser = parse({
    delimiter: options.delimiter ?? (/\.tsv(\.gz)?$/i.test(file) ? "\t" : ","),
    bom: true,
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: options.rowBytesMax
  })
  pipeline(openFile(file, options.chunkBytes), parser, () => undefined)
  let columns: ReadonlyArray<CsvColumn> | undefined =
    options.columns === undefined ? undefined : csvColumns(options.columns, options.plan)
  const named = deviceIsFile(options.plan?.device) ? fileDevice(file) : undefined
  let rows: Array<ReplayRow> = []
  for await (const cells of parser as AsyncIterable<ReadonlyArray<string>>) {
    if (columns === undefined) {
      columns = csvColumns(cells, options.plan)
      continue
    }
    const own = csvEvent(columns, cells)
    const event = named === undefined || own["file"] !== undefined ? own : { file: named, ...own }
    rows.push({ value: text.encode(JSON.stringify(event)), event })
    if (rows.length >= CSV_ROWS) {
      yield rows
      rows = []
    }
  }
  if (rows.length > 0) yield rows
}

/**
 * All rows of the files, in order, some at a time; blank lines are no rows. Where the plan's device lies at `file`,
 * a row without that key gets the name of its file. Rejects where a file breaks.
 */
export async function* readRows(
  files: ReadonlyArray<string>,
  options: RowsOptions
): AsyncGenerator<ReadonlyArray<ReplayRow>> {
  for (const file of files) {
    yield* (options.format ?? formatOf(file)) === "csv" ? csvRows(file, options) : jsonRows(file, options)
  }
}
