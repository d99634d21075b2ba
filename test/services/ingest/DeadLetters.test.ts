// Dead letters: kept with their bytes, found again, and the same after a replay.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import type { DeadLetter } from "../../../src/schema/event/DeadLetter.ts"
import {
  DEAD_LETTER_BYTES_MAX,
  DEAD_LETTER_TOPIC,
  DeadLetters
} from "../../../src/services/ingest/DeadLetters.ts"
import { EmbeddedLog } from "../../../src/services/ingest/EmbeddedLog.ts"
import { EventLog } from "../../../src/services/ingest/EventLog.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-letters-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const fresh = () =>
  DeadLetters.layer({ partitions: 1 }).pipe(
    Layer.provideMerge(EmbeddedLog.layer({ filename: join(folder, `${files++}.db`), synchronous: "normal" }))
  )
const letter = (offset: number, extra: Partial<DeadLetter> = {}): DeadLetter => ({
  id: `flows.0.${offset}`,
  stream: "flows",
  topic: "flows",
  partition: 0,
  offset,
  timestamp: 1_700_000_000_000,
  reason: "bad-utf8",
  detail: "byte 3 is no UTF-8",
  attempts: 1,
  bytes: new Uint8Array([0, 255, 128, offset & 255]),
  size: 4,
  headers: {},
  ...extra
})
const first = { partition: 0, from: 0, limit: 100 }

describe("DeadLetters", () => {
  it.effect("I4 keeps the original bytes and where they stood", () =>
    Effect.gen(function* () {
      const letters = yield* DeadLetters
      const written = [letter(3), letter(9, { reason: "tombstone", bytes: new Uint8Array(0), size: 0 })]
      yield* letters.write(written)
      expect(yield* letters.page(first)).toEqual({ letters: written, next: 2, end: 2 })
      expect(yield* letters.get("flows.0.9")).toEqual(Option.some(written[1]))
      expect(yield* letters.get("flows.0.10")).toEqual(Option.none())
    }).pipe(Effect.provide(fresh()))
  )

  it.effect("I4 keeps the headers, and takes letters from before there were any", () =>
    Effect.gen(function* () {
      const letters = yield* DeadLetters
      const log = yield* EventLog
      const { headers: _, bytes, ...old } = letter(5)
      yield* letters.write([letter(4, { headers: { ce_type: "flow", ce_id: "7" } })])
      const value = JSON.stringify({ ...old, bytes: Buffer.from(bytes).toString("base64") })
      yield* log.append(DEAD_LETTER_TOPIC, [{ key: null, value: new TextEncoder().encode(value) }])
      const page = yield* letters.page(first)
      expect(page.letters.map(({ headers }) => headers)).toEqual([{ ce_type: "flow", ce_id: "7" }, {}])
    }).pipe(Effect.provide(fresh()))
  )

  it.effect("I4 shows a letter once although a replay wrote it again", () =>
    Effect.gen(function* () {
      const letters = yield* DeadLetters
      yield* letters.write([letter(1), letter(2)])
      yield* letters.write([letter(2), letter(3)])
      const page = yield* letters.page(first)
      expect(page.letters.map((found) => found.offset)).toEqual([1, 2, 3])
      expect(page).toMatchObject({ next: 4, end: 4 })
    }).pipe(Effect.provide(fresh()))
  )

  it.effect("pages on from where a page ended, by stream where asked", () =>
    Effect.gen(function* () {
      const letters = yield* DeadLetters
      yield* letters.write(
        Array.from({ length: 10 }, (_, i) =>
          letter(i, { stream: i % 2 === 0 ? "flows" : "logins", id: `x.0.${i}` })
        )
      )
      const one = yield* letters.page({ ...first, limit: 3, stream: "logins" })
      expect(one.letters.map((found) => found.offset)).toEqual([1, 3, 5])
      const two = yield* letters.page({ ...first, from: one.next, limit: 3, stream: "logins" })
      expect(two.letters.map((found) => found.offset)).toEqual([7, 9])
      expect(two.next).toBe(two.end)
      expect((yield* letters.page({ ...first, from: 99 })).letters).toEqual([])
    }).pipe(Effect.provide(fresh()))
  )

  it.effect("F17 cuts what would not fit a message, and tells the size of the whole", () =>
    Effect.gen(function* () {
      const letters = yield* DeadLetters
      const size = 10_485_760
      yield* letters.write([letter(0, { reason: "too-large", bytes: new Uint8Array(size).fill(7), size })])
      const [found] = (yield* letters.page(first)).letters
      expect([found.bytes.length, found.size]).toEqual([DEAD_LETTER_BYTES_MAX, size])
    }).pipe(Effect.provide(fresh()))
  )

  it.effect("passes over what others wrote to its topic", () =>
    Effect.gen(function* () {
      const letters = yield* DeadLetters
      const log = yield* EventLog
      yield* letters.write([letter(1)])
      yield* log.append(DEAD_LETTER_TOPIC, [{ key: null, value: new TextEncoder().encode("not a letter") }])
      yield* letters.write([letter(2)])
      expect((yield* letters.page(first)).letters.map((found) => found.offset)).toEqual([1, 2])
    }).pipe(Effect.provide(fresh()))
  )
})
