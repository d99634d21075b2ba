// Aligned tables as kubectl prints them: upper-case headers, three spaces between columns.
import { cellWidth, cutTo, padTo, printable, unpainted } from "./paint.ts"

export interface Column<Row> {
  readonly header: string
  readonly align?: "left" | "right"
  /** What the cell says; made printable here. */
  readonly cell: (row: Row) => string
  /** Colours the finished, padded cell. */
  readonly paint?: (text: string, row: Row) => string
}

const GAP = "   "

/**
 * Header and one line per row, without a line break at the end. Lines are cut to `width` terminal cells
 * when it is given (a terminal), never otherwise: what a pipe reads is whole.
 */
export const renderTable = <Row>(
  columns: ReadonlyArray<Column<Row>>,
  rows: ReadonlyArray<Row>,
  width?: number
): string => {
  const cells = rows.map((row) => columns.map((column) => printable(column.cell(row))))
  const widths = columns.map((column, index) => {
    let widest = cellWidth(column.header)
    for (const line of cells) widest = Math.max(widest, cellWidth(line[index]))
    return widest
  })
  const line = (texts: ReadonlyArray<string>, row: Row | undefined): string => {
    let result = ""
    let left = width ?? Number.POSITIVE_INFINITY
    for (let index = 0; index < columns.length; index++) {
      if (left <= 0) break
      const column = columns[index]
      const last = index === columns.length - 1
      const padded =
        last && column.align !== "right" ? texts[index] : padTo(texts[index], widths[index], column.align)
      const cut = cutTo(padded, left)
      const painted = row === undefined || column.paint === undefined ? cut : column.paint(cut, row)
      left -= cellWidth(cut) + GAP.length
      result += painted + (last || left <= 0 ? "" : GAP)
    }
    return unpainted(result) === result ? result.trimEnd() : result
  }
  return [
    line(
      columns.map((column) => column.header),
      undefined
    ),
    ...cells.map((texts, index) => line(texts, rows[index]))
  ].join("\n")
}

/** `Name:   value` lines of a described object, values aligned; a value of several lines keeps its indent. */
export const renderPairs = (
  pairs: ReadonlyArray<readonly [name: string, value: string]>,
  indent = 0
): string => {
  const widest = Math.max(0, ...pairs.map(([name]) => cellWidth(name) + 1))
  const lead = " ".repeat(indent)
  return pairs
    .map(([name, value]) => {
      const [first, ...rest] = value.split("\n")
      const continued = rest.map((text) => `${lead}${" ".repeat(widest + 3)}${text}`)
      return [`${lead}${padTo(`${name}:`, widest)}${GAP}${first}`.trimEnd(), ...continued].join("\n")
    })
    .join("\n")
}
