// A region's health in words.
import { describe, expect, it } from "vitest"
import { judgeCell, regionHealth } from "../../../src/actors/region/regionHealth.ts"
import type { CellStatus } from "../../../src/schema/protocol/CellProtocol.ts"

const status = (more: Partial<CellStatus>): CellStatus => ({
  stream: "flows",
  partition: 0,
  owner: "runner-1",
  epoch: 1,
  offset: 10,
  endOffset: 10,
  lag: 0,
  oldestEventAgeSeconds: 0,
  paused: null,
  pauseDetail: null,
  watermark: null,
  eventsPerSecond: 0,
  devices: 0,
  model: null,
  path: "baseline",
  breaker: "none",
  counters: {
    scored: 0,
    secondStage: 0,
    alerts: 0,
    suppressed: 0,
    deadLetters: 0,
    duplicates: 0,
    late: 0,
    ahead: 0
  },
  checkpoint: null,
  drift: null,
  startedAt: 0,
  takeoverMillis: 0,
  stateBytes: 0,
  ...more
})

describe("a region", () => {
  it("is healthy while every cell reads", () => {
    expect(judgeCell("flows", 0, status({}))).toEqual([])
    expect(regionHealth([], 4)).toBe("healthy")
  })

  it("is degraded when a cell is late, waits or scores without its model, and says which and why", () => {
    const late = judgeCell("flows", 1, status({ lag: 500, oldestEventAgeSeconds: 42.4 }))
    expect(late[0].reason).toBe("Cell flows/1 is behind: the oldest of 500 waiting events is 42 s old.")
    const open = judgeCell("flows", 2, status({ breaker: "open", path: "baseline" }))
    expect(open[0].reason).toBe("Cell flows/2 scores by baseline: its model's breaker is open.")
    const waits = judgeCell(
      "flows",
      3,
      status({ paused: "database-unavailable", pauseDetail: "disk full", lag: 7 })
    )
    expect(waits[0]).toEqual({
      weight: "failing",
      reason: "Cell flows/3 can't reach the state database: disk full; 7 events wait in the log."
    })
    expect(regionHealth([...late, ...open, ...waits], 4)).toBe("degraded")
  })

  it("is failing when no cell scores", () => {
    const silent = [0, 1].flatMap((partition) => judgeCell("flows", partition, undefined))
    expect(regionHealth(silent, 2)).toBe("failing")
    expect(silent[1].reason).toBe("Cell flows/1 does not answer.")
  })
})
