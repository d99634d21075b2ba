// Keys go to the partitions Kafka's own producer would choose.
import { describe, expect, it } from "vitest"
import { murmur2, partitionOf } from "../../../src/services/ingest/partition.ts"

describe("murmur2", () => {
  // From org.apache.kafka.common.utils.UtilsTest.
  it.each([
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107]
  ])("of %s is what Kafka's Java client computes", (key, hash) => {
    expect(murmur2(Buffer.from(key))).toBe(hash)
  })

  it("drops the sign bit to choose a partition", () => {
    expect(partitionOf(Buffer.from("21"), 7)).toBe((-973932308 & 0x7fffffff) % 7)
    expect(partitionOf(Buffer.from("abc"), 1_000)).toBe(107)
    expect(partitionOf(new Uint8Array(0), 1)).toBe(0)
  })
})
