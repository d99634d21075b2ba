import { describe, expect, it } from "vitest"
import {
  formatBytes,
  formatDigest,
  formatMillis,
  formatNumber,
  formatRate,
  formatTime
} from "../../../src/services/cli/format.ts"
import { renderProgress } from "../../../src/services/cli/progress.ts"

describe("formats", () => {
  it.each([
    [0, "0ms"],
    [999, "999ms"],
    [119_000, "119s"],
    [192_000, "3m12s"],
    [3_600_000, "60m"],
    [5 * 3_600_000, "5h"],
    [51 * 3_600_000, "2d3h"],
    [Number.NaN, "-"]
  ])("says %d ms as %s", (millis, text) => expect(formatMillis(millis)).toBe(text))

  it("says numbers with three digits, counts with commas", () => {
    expect([0, 0.001234, 12.345, 4_560, 1.23e9, null].map((value) => formatNumber(value))).toEqual([
      "0",
      "0.00123",
      "12.3",
      "4,560",
      "1.2e+9",
      "-"
    ])
    expect(formatRate(45_600)).toBe("45,600/s")
    expect(formatRate(0.25)).toBe("0.3/s")
    expect(formatBytes(1_536)).toBe("1.5 KiB")
  })

  it("says times in UTC, and none as -", () => {
    expect(formatTime(1_700_000_000_000)).toBe("2023-11-14T22:13:20Z")
    expect(formatTime(null)).toBe("-")
    expect(formatTime(9e15)).toBe("-")
    expect(formatDigest(`sha256:${"0123456789abcdef".repeat(4)}`)).toBe("sha256:0123456789ab")
  })
})

describe("renderProgress", () => {
  const state = { label: "score", done: 250, total: 1_000, unit: "rows", elapsedMillis: 5_000, note: "" }

  it("shows share, rate and time left where the total is known", () => {
    expect(renderProgress(state, 200, true)).toBe(
      "score  ██████░░░░░░░░░░░░░░░░░░   25 %  250 of 1,000 rows  50/s  15s left"
    )
  })

  it("counts where it is not, and tells what else there is", () => {
    expect(renderProgress({ ...state, total: undefined, note: "3 refused" }, 200, false)).toBe(
      "score  250 rows  50/s  5s  3 refused"
    )
    expect(renderProgress(state, 20, true)).toBe("score  ██████░░░░░░…")
  })
})
