// Kafka's wire format, read into columns: against batches that kafkajs encodes, and against damage.
import { createRequire } from "node:module"
import { gzipSync } from "node:zlib"
import * as fc from "fast-check"
import { compressFrameSync } from "lz4-napi"
import { compressSync } from "snappy"
import { describe, expect, it } from "vitest"
import { crc32c } from "../../../src/services/ingest/crc32c.ts"
import { isSpent, openCursor, readBatch } from "../../../src/services/ingest/kafkaBatch.ts"
import { CodecFailure, decompress } from "../../../src/services/ingest/kafkaCodecs.ts"
import { type FetchedPartition, parseFetchResponse } from "../../../src/services/ingest/kafkaFetch.ts"
import { makeRecordColumns } from "../../../src/services/ingest/recordBatch.ts"
import { rowsOf, type Seen } from "../../suite/eventLogSuite.ts"

interface Encoded {
  readonly buffer: Buffer
}
const require = createRequire(import.meta.url)
const encodeRecord: (
  record: object
) => Encoded = require("kafkajs/src/protocol/recordBatch/record/v0/index.js")
const {
  RecordBatch: encodeBatch
}: {
  RecordBatch: (batch: object) => Promise<Encoded>
} = require("kafkajs/src/protocol/recordBatch/v0/index.js")
const Long: { fromNumber: (value: number) => unknown } = require("kafkajs/src/utils/long.js")

interface Wanted {
  readonly key: string | null
  readonly value: string | null
  readonly time: number
  readonly header: string | undefined
}

const batchAt = async (base: number, records: ReadonlyArray<Wanted>): Promise<Buffer> => {
  const encoded = await encodeBatch({
    firstOffset: Long.fromNumber(base),
    firstTimestamp: 1_700_000_000_000,
    maxTimestamp: 1_700_000_000_000,
    lastOffsetDelta: records.length - 1,
    records: records.map((record, i) =>
      encodeRecord({
        offsetDelta: i,
        timestampDelta: record.time,
        key: record.key === null ? null : Buffer.from(record.key),
        value: record.value === null ? null : Buffer.from(record.value),
        headers: record.header === undefined ? {} : { Name: Buffer.from(record.header) }
      })
    )
  })
  return encoded.buffer
}

const limits = { inflatedBytesMax: 1_048_576, gatheredBytesMax: 1_048_576, checksum: true }
const fetched = (records: Buffer, end: number): FetchedPartition => ({
  topic: "t",
  partition: 0,
  errorCode: 0,
  lastStableOffset: end,
  logStartOffset: 0,
  aborted: [],
  records
})

const readAll = (records: Buffer, position: number, end: number, checksum = true) => {
  const cursor = openCursor(fetched(records, end), position)
  const columns = makeRecordColumns(1)
  const rows: Array<Seen> = []
  const gaps: Array<readonly [number, number]> = []
  for (let rounds = 0; ; rounds++) {
    if (rounds > 10_000) throw new Error("reading does not end")
    const batch = readBatch(cursor, columns, { ...limits, checksum })
    if (batch === undefined) break
    rows.push(...rowsOf(batch))
    gaps.push(...batch.unreadable.map((gap) => [gap.firstOffset, gap.lastOffset] as const))
  }
  return { rows, gaps, position: cursor.position, spent: isSpent(cursor) }
}

const wanted = fc.record({
  key: fc.option(fc.string({ unit: "binary", maxLength: 20 })),
  value: fc.option(fc.string({ unit: "binary", maxLength: 200 })),
  time: fc.integer({ min: 0, max: 2 ** 40 }),
  header: fc.option(fc.string({ maxLength: 10 }), { nil: undefined })
})
const log = fc.array(fc.array(wanted, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 5 })

const encodeLog = async (batches: ReadonlyArray<ReadonlyArray<Wanted>>) => {
  const parts: Array<Buffer> = []
  let base = 0
  for (const batch of batches) {
    parts.push(await batchAt(base, batch))
    base += batch.length
  }
  return { parts, end: base }
}

describe("readBatch", () => {
  it("reads what kafkajs encoded, from any offset, whatever was cut off the end", () =>
    fc.assert(
      fc.asyncProperty(log, fc.nat(), fc.nat(60), async (batches, start, cut) => {
        const { end, parts } = await encodeLog(batches)
        const position = start % end
        const next = await batchAt(end, batches[0])
        const whole = Buffer.concat([...parts, next.subarray(0, cut)])
        const flat = batches.flat()
        const read = readAll(whole, position, end)
        expect(read.rows.map((row) => row.offset)).toEqual(flat.map((_, i) => i).slice(position))
        expect(read.rows.map((row) => row.value ?? null)).toEqual(
          flat
            .slice(position)
            .map((record) => (record.value === null ? null : Buffer.from(record.value).toString()))
        )
        expect(read.rows.map((row) => row.timestamp)).toEqual(
          flat.slice(position).map((record) => 1_700_000_000_000 + record.time)
        )
        expect(read.rows.map((row) => row.headers?.["name"])).toEqual(
          flat.slice(position).map((record) => (record.header === undefined ? undefined : record.header))
        )
        expect([read.gaps, read.position, read.spent]).toEqual([[], end, true])
      }),
      { seed: 11, numRuns: 200 }
    ))

  it("F18 I4 accounts for every offset although a byte is flipped: read or named unreadable", () =>
    fc.assert(
      fc.asyncProperty(log, fc.nat(), fc.integer({ min: 1, max: 255 }), async (batches, where, flip) => {
        const { end, parts } = await encodeLog(batches)
        const bytes = Buffer.concat(parts)
        // The first 12 bytes of a batch (offset, length) are the frame that the broker itself goes by.
        const target = where % parts.length
        const from = parts.slice(0, target).reduce((sum, part) => sum + part.length, 0)
        const at = from + 16 + (where % (parts[target].length - 16))
        bytes[at] ^= flip
        const read = readAll(bytes, 0, end)
        const seen = new Set(read.rows.map((row) => row.offset))
        for (const [first, last] of read.gaps)
          for (let offset = first; offset <= last; offset++) seen.add(offset)
        const missing = Array.from({ length: end }, (_, offset) => offset).filter(
          (offset) => !seen.has(offset)
        )
        // A damaged last batch may be read again from where it is known to be damaged.
        expect(missing.filter((offset) => offset < read.position)).toEqual([])
        expect(read.gaps.length).toBe(1)
        expect(read.position).toBeLessThanOrEqual(end)
      }),
      { seed: 12, numRuns: 300 }
    ))

  it("never does worse than a RangeError on any bytes, checked or not", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, checksum) => {
        try {
          readAll(Buffer.from(noise), 0, 1_000, checksum)
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
        try {
          parseFetchResponse(Buffer.from(noise), 11)
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
      { seed: 13, numRuns: 2_000 }
    )
  })

  it("does not check what it is told not to", async () => {
    const bytes = await batchAt(0, [{ key: null, value: "a", time: 0, header: undefined }])
    bytes[17] ^= 1
    expect(readAll(bytes, 0, 1, false).rows.length).toBe(1)
    expect(readAll(bytes, 0, 1, true).gaps).toEqual([[0, 0]])
  })
})

describe("crc32c", () => {
  it("agrees with the published check values", () => {
    const digits = new TextEncoder().encode("123456789")
    expect(crc32c(digits, 0, 9) >>> 0).toBe(0xe3069283)
    expect(crc32c(new Uint8Array(32), 0, 32) >>> 0).toBe(0x8a9136aa)
    expect(crc32c(new Uint8Array(32).fill(255), 0, 32) >>> 0).toBe(0x62a8ab43)
  })

  it("is the same wherever the bytes lie", () => {
    const bitwise = (bytes: Uint8Array) => {
      let c = -1
      for (const byte of bytes) {
        c ^= byte
        for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
      }
      return ~c
    }
    const bytes = Uint8Array.from({ length: 96 }, (_, i) => i * 7_919)
    for (let start = 0; start < 9; start++) {
      for (let end = start; end <= bytes.length; end++) {
        expect([start, end, crc32c(bytes, start, end)]).toEqual([
          start,
          end,
          bitwise(bytes.subarray(start, end))
        ])
      }
    }
  })
})

describe("decompress", () => {
  const plain = Buffer.from("ground state ".repeat(1_000))
  const xerial = (...blocks: ReadonlyArray<Buffer>) =>
    Buffer.concat([
      Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
      ...blocks.flatMap((block) => {
        const head = Buffer.alloc(4)
        head.writeInt32BE(block.length)
        return [head, block]
      })
    ])
  const packed: ReadonlyArray<readonly [string, number, Buffer]> = [
    ["gzip", 1, gzipSync(plain)],
    ["snappy", 2, Buffer.from(compressSync(plain))],
    [
      "snappy in blocks",
      2,
      xerial(compressSync(plain.subarray(0, 7_000)), compressSync(plain.subarray(7_000)))
    ],
    ["lz4", 3, compressFrameSync(plain)]
  ]
  const reasonOf = (run: () => unknown) => {
    try {
      run()
      return "none"
    } catch (error) {
      return error instanceof CodecFailure ? error.reason : `not a CodecFailure: ${error}`
    }
  }

  it.each(packed)("%s: up to its limit, and not a byte beyond", (_, codec, bytes) => {
    // LZ4 is judged by the size of its blocks, so its limit is coarse.
    const limit = codec === 3 ? 4 * 1_048_576 : plain.length
    expect(Buffer.from(decompress(codec, bytes, limit)).equals(plain)).toBe(true)
    expect(reasonOf(() => decompress(codec, bytes, 10))).toBe("too-large")
    expect(reasonOf(() => decompress(codec, bytes, plain.length - 1))).toMatch(
      codec === 3 ? /./ : /too-large/
    )
  })

  it.each(packed)("%s: damage is a CodecFailure", (_, codec, bytes) => {
    for (let cut = 0; cut < bytes.length; cut += 7) {
      expect(reasonOf(() => decompress(codec, bytes.subarray(0, cut), 1_048_576))).toMatch(
        /undecodable|too-large/
      )
    }
  })

  it("an unknown codec is a CodecFailure", () => {
    expect(reasonOf(() => decompress(7, plain, 100))).toBe("undecodable-batch")
  })
})
