// What a column is taken for, by what is in it: a number, a category, or nothing to learn from.
import { describe, expect, it } from "vitest"
import { decideColumn, newSurvey, surveyCell } from "../../../src/services/train/columns.ts"
import { makeRandom } from "../../../src/services/train/random.ts"
import type { Cell } from "../../../src/services/train/tableReader.ts"

const decided = (cells: ReadonlyArray<Cell>, name = "x") => {
  const survey = newSurvey(name)
  cells.forEach((cell, at) => {
    surveyCell(survey, cell, at + 1, at + 2)
  })
  return decideColumn(survey)
}
const typeOf = (cells: ReadonlyArray<Cell>, name = "x") => decided(cells, name).column.type
const rows = <A>(count: number, of: (row: number) => A) => Array.from({ length: count }, (_, row) => of(row))
const random = makeRandom(8)
const normals = rows(400, () => random.normal())
const running = (step: () => number) => {
  let at = 1_700_000_000
  return rows(400, () => String((at += step())))
}

describe("a column", () => {
  it("that runs along with the rows is left out: rows to come lie beyond all of it", () => {
    expect(typeOf(rows(400, String))).toBe("ignored")
    expect(typeOf(rows(400, (row) => String(9_000 - 2 * row)))).toBe("ignored")
    expect(typeOf(running(() => 1 + random.below(9)))).toBe("ignored")
    expect(typeOf(running(() => random.below(3)))).toBe("ignored")
    expect(typeOf(rows(400, (row) => (row === 7 ? "" : String(row))))).toBe("ignored")
    expect(decided(rows(400, String)).notice).toMatch(/^column x is left out: it only ever grows/)
  })

  it("that runs along in bursts is left out where its name says what it is", () => {
    const bursts = running(() => (random.below(40) === 0 ? 90_000 * random.uniform() ** 4 : 1))
    expect(typeOf(bursts)).toBe("number")
    for (const name of ["timestamp", "created_at", "event time", "seq"])
      expect(typeOf(bursts, name)).toBe("ignored")
  })

  it("that the file happens to be sorted by stays", () => {
    expect(typeOf([...normals].sort((a, b) => a - b))).toBe("number")
    expect(typeOf(rows(400, (row) => Math.floor(row / 40)))).toBe("number")
  })

  it("of identifiers is left out, of whole numbers only where its name says so", () => {
    const numbers = rows(400, () => String(random.below(1e9)))
    expect(typeOf(numbers)).toBe("number")
    for (const name of ["id", "user_id", "sessionId", "UUID".toLowerCase()]) {
      expect(typeOf(numbers, name)).toBe("ignored")
    }
    expect(
      typeOf(
        rows(400, (row) => String(row % 9)),
        "product_id"
      )
    ).toBe("number")
    expect(typeOf(rows(400, (row) => `u-${row}`))).toBe("ignored")
    expect(typeOf(numbers, "paid")).toBe("number")
  })

  it("of dates or times of day as text is left out, however often they repeat", () => {
    const days = rows(900, (row) => `2024-01-${String(1 + (row % 28)).padStart(2, "0")}`)
    expect(typeOf(days)).toBe("ignored")
    expect(typeOf(days.map((day) => `${day}T10:00:00Z`))).toBe("ignored")
    expect(typeOf(rows(900, (row) => `${1 + (row % 28)}.1.2024 12:30`))).toBe("ignored")
    expect(typeOf(rows(900, (row) => `12:${String(row % 60).padStart(2, "0")}`))).toBe("ignored")
    expect(typeOf(rows(900, (row) => ["10.0.0.1", "1-2"][row % 2]))).toBe("category")
  })

  it("is a number though a few of its cells are none, and those are kept by where they stand", () => {
    const survey = newSurvey("x")
    normals.forEach((cell, at) => {
      surveyCell(survey, at === 30 ? "oops" : cell, at + 1, at + 2)
    })
    expect(decideColumn(survey).column.type).toBe("number")
    expect(survey.odd).toEqual([{ row: 31, line: 32, cell: "oops" }])
  })

  it("of true and false, of words that repeat, of words among numbers is a category", () => {
    expect(typeOf(rows(400, (row) => row % 3 === 0))).toBe("category")
    expect(typeOf(rows(400, (row) => ["yes", "no"][row % 2]))).toBe("category")
    expect(typeOf(rows(400, (row) => (row % 2 === 0 ? String(row % 7) : "other")))).toBe("category")
  })

  it("of infinities and vast numbers is a number", () => {
    expect(typeOf(["inf", "-inf", "1e308", "-1e308", ...normals])).toBe("number")
  })
})
