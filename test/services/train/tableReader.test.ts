import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import fc from "fast-check"
import { afterAll, describe, expect, it } from "vitest"
import {
  isMissing,
  numberIn,
  openTable,
  type ReaderOptions,
  splitRow,
  type TableRow
} from "../../../src/services/train/tableReader.ts"

const dir = mkdtempSync(join(tmpdir(), "groundstate-test-"))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

let files = 0
const read = async (text: string | Uint8Array, options: ReaderOptions & { readonly name?: string } = {}) => {
  const path = join(dir, `${files++}${options.name ?? ".csv"}`)
  writeFileSync(path, text)
  const reader = await openTable(path, options)
  const rows: Array<TableRow> = []
  for await (const lot of reader.lots()) rows.push(...lot)
  return { reader, rows, cells: rows.map((row) => row.cells) }
}

describe("a CSV table", () => {
  it("is read with its header, quotes, empty cells and line ends as they come", async () => {
    const { reader, cells } = await read('\ufeffa,b,"c d"\r\n1,"x, ""y""",\r\n\r\n2,z,3')
    expect(reader.names).toEqual(["a", "b", "c d"])
    expect(cells).toEqual([
      ["1", 'x, "y"', ""],
      ["2", "z", "3"]
    ])
  })

  it("finds the delimiter, and names columns where there is no header", async () => {
    const { reader, cells } = await read("0;tcp;5\n1;udp;6\n")
    expect(reader).toMatchObject({ header: false, names: ["column1", "column2", "column3"] })
    expect(cells).toHaveLength(2)
  })

  it("takes a first line as a header if it names the label, or counts its columns", async () => {
    expect((await read("1.5,label,7\n1,0,2\n", { label: "label" })).reader.header).toBe(true)
    expect((await read("0,1,2\n5,6,7\n")).reader.header).toBe(true)
    expect((await read("5,1,2\n5,6,7\n")).reader.header).toBe(false)
    expect((await read("a,b\n1,2\n", { header: false })).cells).toHaveLength(2)
  })

  it("keeps a quoted line break in its cell and gives the row's first line", async () => {
    const { rows } = await read('a,b\n1,"two\nlines"\n3,4\n')
    expect(rows).toEqual([
      { line: 2, cells: ["1", "two\nlines"] },
      { line: 4, cells: ["3", "4"] }
    ])
  })

  it("loses one row, not the rest of the file, to a quote that never closes", async () => {
    const lines = Array.from({ length: 200 }, (_, at) => (at === 3 ? '"3,4' : `${at},4`))
    const { rows } = await read(`a,b\n${lines.join("\n")}\n`)
    expect(rows).toHaveLength(200)
    expect(rows.flatMap((row) => (row.cells === undefined ? [row.line] : []))).toEqual([5])
  })

  it("says where a row is too long or too short", async () => {
    const { rows } = await read("a,b\n1,2\n1\n1,2,3\n")
    expect(rows.map((row) => row.fault)).toEqual([
      undefined,
      "1 cells where 2 are expected",
      "3 cells where 2 are expected"
    ])
    expect(rows.map((row) => row.line)).toEqual([2, 3, 4])
  })

  it("is read from gzip, and a broken file is an error", async () => {
    expect((await read(gzipSync("a,b\n1,2\n"), { name: ".csv.gz" })).cells).toEqual([["1", "2"]])
    await expect(read(gzipSync("a,b\n1,2\n").subarray(0, 15), { name: ".csv.gz" })).rejects.toThrow()
  })

  it("has as many rows as lines that are not blank, whatever is in them", async () => {
    const line = fc.string({ maxLength: 20 }).map((text) => text.replace(/[\r\n"\ufeff]/g, "x"))
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 30 }), async (lines) => {
        const { rows } = await read(`h\n${lines.join("\n")}\n`, { header: true })
        expect(rows).toHaveLength(lines.filter((text) => text.trim() !== "").length)
      }),
      { seed: 21, numRuns: 40 }
    )
  })

  it("splits what was joined, for any cells", () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1 }), (cells) => {
        const text = cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",")
        expect(splitRow(text, ",")).toEqual(cells)
      }),
      { seed: 22 }
    )
  })
})

describe("JSON lines", () => {
  it("grow their columns, flatten objects, and name broken lines", async () => {
    const { reader, rows } = await read('{"a":1}\n{"b":{"c":"x"},"a":null}\n[1]\n{"a":\n', { name: ".jsonl" })
    expect(reader.names).toEqual(["a", "b.c"])
    expect(rows.map((row) => row.cells)).toEqual([[1], [null, "x"], undefined, undefined])
    expect(rows[3]).toMatchObject({ line: 4, fault: "not a JSON value" })
  })
})

describe("a cell", () => {
  it("is missing, a number, or neither", () => {
    for (const cell of ["", " ", "NA", "NaN", "null", "?", null, undefined])
      expect(isMissing(cell)).toBe(true)
    expect(numberIn(" 1e3 ")).toBe(1000)
    expect(numberIn("-inf")).toBe(Number.NEGATIVE_INFINITY)
    expect(numberIn(true)).toBe(1)
    expect(numberIn("12a")).toBeNaN()
    expect(numberIn("")).toBeNaN()
  })
})
