import { describe, expect, it } from "vitest"
import { KEPT_HEADERS_MAX, letterOf } from "../../../src/actors/cell/deadLetterOf.ts"
import type { RecordBatch } from "../../../src/schema/event/Batch.ts"
import { ASK_HEADER } from "../../../src/schema/protocol/CellProtocol.ts"

const bytes = new TextEncoder().encode("..{oops}")
const batch = (headers: Record<string, string> | undefined): RecordBatch => ({
  count: 1,
  nextOffset: 42,
  bytes,
  starts: Int32Array.of(2),
  ends: Int32Array.of(8),
  offsets: Float64Array.of(41),
  timestamps: Float64Array.of(1_700_000_000_000),
  endOffset: 42,
  headers: headers === undefined ? undefined : new Map([[0, headers]]),
  unreadable: []
})
const letter = (headers?: Record<string, string>) =>
  letterOf({ stream: "flows", partition: 2 }, "flows", batch(headers), 0, "bad-json", "because", 1)

describe("a dead letter", () => {
  it("has the record's own bytes, and its name from where it stood", () => {
    expect(letter()).toMatchObject({ id: "flows.2.41", offset: 41, size: 6, headers: {} })
    expect(Buffer.from(letter().bytes).toString()).toBe("{oops}")
  })

  it("keeps what the producer wrote into the headers, not the mark of who waits", () => {
    expect(letter({ ce_type: "flow", [ASK_HEADER]: "runner-1/7" }).headers).toEqual({ ce_type: "flow" })
  })

  it("keeps so many headers as fit", () => {
    const large = "x".repeat(KEPT_HEADERS_MAX - 100)
    expect(Object.keys(letter({ a: large, b: large, c: "1" }).headers)).toEqual(["a"])
  })
})
