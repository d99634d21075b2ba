import { describe, expect, it } from "vitest"
import { cellWidth, cutTo, padTo, printable } from "../../../src/services/cli/paint.ts"
import { renderPairs, renderTable } from "../../../src/services/cli/table.ts"

const columns = [
  { header: "NAME", cell: (row: readonly [string, number]) => row[0] },
  { header: "EVENTS", align: "right" as const, cell: (row: readonly [string, number]) => String(row[1]) },
  { header: "WHY", cell: () => "because" }
]
const rows = [
  ["pump-1", 5],
  ["a-very-long-name", 12_345_678]
] as const

describe("renderTable", () => {
  it("aligns columns three spaces apart, without trailing spaces", () => {
    expect(renderTable(columns, rows)).toBe(
      [
        "NAME                 EVENTS   WHY",
        "pump-1                    5   because",
        "a-very-long-name   12345678   because"
      ].join("\n")
    )
  })

  it("cuts to the terminal's width and marks the cut", () => {
    const lines = renderTable(columns, rows, 32).split("\n")
    expect(lines.map((line) => cellWidth(line)).every((width) => width <= 32)).toBe(true)
    expect(lines[2]).toBe("a-very-long-name   12345678   b…")
  })

  it("lets no device name steer the terminal", () => {
    const text = renderTable(columns, [["\u001b[2Jevil\u202e\n", 1]])
    expect(text).toContain("\\u001b[2Jevil\\u202e\\n")
    expect(text).not.toContain("\u001b")
    expect(text.split("\n")).toHaveLength(2)
  })

  it("counts wide characters as two cells", () => {
    const lines = renderTable(columns, [
      ["泵", 1],
      ["ab", 2]
    ]).split("\n")
    expect(cellWidth(lines[1])).toBe(cellWidth(lines[2]))
  })
})

describe("text in cells", () => {
  it("pads and cuts by cells", () => {
    expect(padTo("é", 3)).toBe("é  ")
    expect(padTo("5", 3, "right")).toBe("  5")
    expect(cutTo("泵泵泵", 5)).toBe("泵泵…")
    expect(cutTo("abc", 0)).toBe("")
    expect(printable("a\tb")).toBe("a\\tb")
  })
})

describe("renderPairs", () => {
  it("aligns values and indents what continues them", () => {
    expect(
      renderPairs([
        ["Device", "pump-1"],
        ["Health", "degraded\nlag grows"]
      ])
    ).toBe("Device:   pump-1\nHealth:   degraded\n          lag grows")
  })
})
