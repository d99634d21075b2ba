// The events of a file or of a folder's files, row by row: JSON lines as they are, CSV as JSON, either gzipped.
import { createReadStream } from "node:fs"
import { stat } from "node:fs/promises"
import { createGunzip } from "node:zlib"
import { Effect } from "effect"
import { CommandFailed } from "../../schema/error/CliError.ts"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import { deviceIsFile, fileDevice, textWithFile } from "../ingest/fileDevice.ts"
import { formatOf, listFiles } from "../ingest/ReplayRows.ts"
import { openTable } from "../train/tableReader.ts"
import { eventColumns, eventJson } from "./eventRow.ts"

/** One row. Rows count from 1 over all files, without CSV headers and without empty lines. */
export interface EventRow {
  readonly row: number
  /** One event as JSON, without a line break; undefined where the row can't be read. */
  readonly json: string | undefined
  readonly fault: string | undefined
}

export interface EventFile {
  /** Lots of rows in order; throws what the file system or gzip throws. */
  readonly lots: AsyncGenerator<ReadonlyArray<EventRow>, void, void>
  /** Share of the bytes read so far, 0 to 1; undefined where it can't be told. */
  readonly share: () => number | undefined
}

/** A line beyond this is refused as a row: no event is as large. */
const LINE_CHARACTERS_MAX = 16 * 1024 * 1024

async function* jsonLots(
  file: string,
  named: string | undefined,
  seen: { bytes: number }
): AsyncGenerator<ReadonlyArray<EventRow>, void, void> {
  const raw = createReadStream(file, { highWaterMark: 256 * 1024 })
  raw.on("data", (chunk) => {
    seen.bytes += chunk.length
  })
  const source = /\.gz$/i.test(file) ? raw.pipe(createGunzip()) : raw
  // An error of the file does not travel through `pipe`.
  if (source !== raw) raw.on("error", (error) => source.destroy(error))
  const decoder = new TextDecoder("utf-8", { fatal: true })
  let rest = ""
  let row = 0
  const rowsOf = (text: string, last: boolean): ReadonlyArray<EventRow> => {
    const lines = (rest + text).split("\n")
    rest = last ? "" : (lines.pop() as string)
    const rows: Array<EventRow> = []
    for (const line of lines) {
      const json = row === 0 && rows.length === 0 ? line.replace(/^\ufeff/, "").trim() : line.trim()
      if (json === "") continue
      row++
      rows.push(
        json.length > LINE_CHARACTERS_MAX
          ? { row, json: undefined, fault: "the line is longer than 16 MiB" }
          : { row, json: named === undefined ? json : textWithFile(json, named), fault: undefined }
      )
    }
    return rows
  }
  for await (const chunk of source) {
    const rows = rowsOf(decoder.decode(chunk as Uint8Array, { stream: true }), false)
    if (rest.length > LINE_CHARACTERS_MAX * 4)
      throw new Error("a line is longer than 64 MiB: is this a file of JSON lines?")
    if (rows.length > 0) yield rows
  }
  const rows = rowsOf(decoder.decode(), true)
  if (rows.length > 0) yield rows
}

async function* csvLots(
  file: string,
  named: string | undefined,
  definition: StreamDefinition | undefined
): AsyncGenerator<ReadonlyArray<EventRow>, void, void> {
  const table = await openTable(file)
  const columns = eventColumns(table.names, definition)
  let row = 0
  for await (const lot of table.lots()) {
    yield lot.map((line): EventRow => {
      row++
      if (line.cells === undefined) {
        return { row, json: undefined, fault: `line ${line.line}: ${line.fault ?? "it can't be read"}` }
      }
      const json = eventJson(columns, line.cells)
      return { row, json: named === undefined ? json : textWithFile(json, named), fault: undefined }
    })
  }
}

/** What a failed read means for the person who named the file. */
export const unreadable = (file: string, cause: unknown): CommandFailed => {
  const { code, message } = cause as NodeJS.ErrnoException
  return new CommandFailed({
    problem:
      code === "ENOENT"
        ? `There is no file ${file}.`
        : `${file} can't be read: ${code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "it is not UTF-8" : message}.`,
    next:
      code === "ENOENT" ? "Check --input." : "Give a file of JSON lines or CSV (.jsonl, .csv, .gz of either)."
  })
}

interface SizedFile {
  readonly path: string
  readonly size: number
}

async function* allLots(
  files: ReadonlyArray<SizedFile>,
  definition: StreamDefinition | undefined,
  seen: { bytes: number }
): AsyncGenerator<ReadonlyArray<EventRow>, void, void> {
  const byFile = deviceIsFile(definition?.identity.device.split("."))
  let before = 0
  let bytes = 0
  for (const { path, size } of files) {
    const named = byFile ? fileDevice(path) : undefined
    const lots = formatOf(path) === "csv" ? csvLots(path, named, definition) : jsonLots(path, named, seen)
    let last = 0
    for await (const lot of lots) {
      if (lot.length === 0) continue
      last = lot[lot.length - 1].row
      yield before === 0 ? lot : lot.map((row) => ({ ...row, row: before + row.row }))
    }
    before += last
    bytes += size
    seen.bytes = bytes
  }
}

/**
 * Opens a file of events, or a folder: the files in and below it, one after the other in the order of their paths.
 * `definition` types the columns of CSV files; where its device lies at `file`, rows without that key get the name
 * of their file.
 */
export const openEventFile = (
  file: string,
  definition: StreamDefinition | undefined
): Effect.Effect<EventFile, CommandFailed> =>
  Effect.map(
    Effect.tryPromise({
      try: async () => {
        const paths = await listFiles([file])
        if (paths.length === 0) throw new Error("it is a folder without files of events")
        return Promise.all(
          paths.map(async (path): Promise<SizedFile> => ({ path, size: (await stat(path)).size }))
        )
      },
      catch: (cause) => unreadable(file, cause)
    }),
    (files) => {
      const size = files.reduce((sum, one) => sum + one.size, 0)
      const seen = { bytes: 0 }
      const told = files.length > 1 || formatOf(files[0].path) === "jsonl"
      return {
        lots: allLots(files, definition, seen),
        share: () => (told ? (size === 0 ? 1 : Math.min(1, seen.bytes / size)) : undefined)
      }
    }
  )
