// Answers of a connection, put together from reads of any size in memory that is used again.
import { describe, expect, it } from "vitest"
import { makeFrameReader, roomFor } from "../../../src/services/ingest/kafkaFrames.ts"
import { makeRandom } from "../../../src/services/ingest/random.ts"

const frameOf = (size: number, first: number): Buffer => {
  const frame = Buffer.alloc(4 + size)
  frame.writeInt32BE(size)
  for (let i = 0; i < size; i++) frame[4 + i] = first + i
  return frame
}

/** Gives `bytes` to a reader in reads of at most `sizes()` bytes; what it emitted, copied. */
const readAll = (bytes: Buffer, sizes: () => number): ReadonlyArray<Buffer> => {
  const frames: Array<Buffer> = []
  const reader = makeFrameReader((frame) => frames.push(Buffer.from(frame)))
  for (let at = 0; at < bytes.length; ) {
    const count = bytes.copy(reader.room(), 0, at, Math.min(bytes.length, at + sizes()))
    reader.took(count)
    at += count
  }
  return frames
}

describe("frames", () => {
  const frames = [0, 1, 3, 40_000, 65_532, 65_533, 300_000, 7, 200_000].map(frameOf)
  const bytes = Buffer.concat(frames)

  it.each([1, 3, 5, 1_000, 65_536, 1_000_000])("come whole from reads of %i bytes", (size) => {
    expect(readAll(bytes, () => size).map((frame) => frame.length)).toEqual(frames.map((f) => f.length))
    expect(Buffer.concat(readAll(bytes, () => size)).equals(bytes)).toBe(true)
  })

  it("come whole from reads of any size", () => {
    const random = makeRandom(7)
    expect(
      Buffer.concat(readAll(bytes, () => 1 + Math.floor(random.uniform() * 100_000))).equals(bytes)
    ).toBe(true)
  })

  it("stay as they are when several come in one read", () => {
    const seen: Array<Buffer> = []
    const reader = makeFrameReader((frame) => seen.push(frame))
    reader.took(Buffer.concat([frameOf(10, 1), frameOf(20, 2), frameOf(5, 3)]).copy(reader.room()))
    expect(seen.map((frame) => frame.equals(frameOf(frame.length - 4, frame[4])))).toEqual([true, true, true])
  })

  it("use the memory of the one before again", () => {
    const seen: Array<Buffer> = []
    const reader = makeFrameReader((frame) => seen.push(frame))
    for (let i = 0; i < 3; i++) reader.took(frameOf(10, i).copy(reader.room()))
    expect(new Set(seen.map((frame) => frame.buffer)).size).toBe(1)
  })

  it("end where a length can't be one", () => {
    const reader = makeFrameReader(() => undefined)
    expect(() => reader.took(Buffer.from("HTTP/1.1").copy(reader.room()))).toThrow(RangeError)
  })
})

it("memory grows with what it holds, and shrinks once that is far less", () => {
  const small = roomFor(Buffer.alloc(0), 10)
  expect(small.length).toBe(1_024)
  const big = roomFor(small, 3_000_000)
  expect(big.length).toBe(4_194_304)
  expect(roomFor(big, 300_000)).toBe(big)
  expect(roomFor(big, 200_000).length).toBe(262_144)
})
