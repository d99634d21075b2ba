// The embedded log: the conformance suite, and what only a file of one's own has.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, TestClock } from "effect"
import {
  EmbeddedLog,
  type EmbeddedLogOptions,
  EmbeddedLogUpkeep
} from "../../../src/services/ingest/EmbeddedLog.ts"
import { EventLog } from "../../../src/services/ingest/EventLog.ts"
import { eventLogSuite, rowsOf, take } from "../../suite/eventLogSuite.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-log-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const fresh = (options: Partial<EmbeddedLogOptions> = {}) => ({
  filename: join(folder, `${files++}.db`),
  synchronous: "normal" as const,
  ...options
})
const bytes = (value: string) => new TextEncoder().encode(value)
const records = (...values: ReadonlyArray<string>) =>
  values.map((value) => ({ key: null, value: bytes(value) }))
const opening = { topic: "t", partition: 0, offset: 0, epoch: 1, stream: "s", fetchBytesMax: 65_536 }

eventLogSuite("embedded, synchronous normal", EmbeddedLog.layer(fresh()))
eventLogSuite("embedded, synchronous full", EmbeddedLog.layer(fresh({ synchronous: "full" })))

describe("EmbeddedLog", () => {
  it.scoped("still holds everything after it was closed and opened again", () =>
    Effect.gen(function* () {
      const options = fresh()
      const appendTwo = Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("t", 1)
        return yield* log.append("t", records("a", "b"))
      })
      yield* Effect.provide(appendTwo, EmbeddedLog.layer(options))
      const again = yield* Effect.provide(appendTwo, EmbeddedLog.layer(options))
      expect(again.map((answer) => answer.offset)).toEqual([2, 3])
    })
  )

  it.scoped("wakes a reader without its clock moving", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic("t", 1)
      const reader = yield* log.open(opening)
      const waiting = yield* Effect.fork(reader.fetch(60_000))
      yield* Effect.yieldNow()
      yield* log.append("t", records("a"))
      expect((yield* Fiber.join(waiting))?.count).toBe(1)
    }).pipe(Effect.provide(EmbeddedLog.layer(fresh())))
  )

  it.scoped("hands a later reader what came while nobody read", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic("t", 1)
      const readAll = (count: number) =>
        Effect.scoped(Effect.flatMap(log.open(opening), (reader) => take(reader, count)))
      for (const [n, value] of ["a", "b", "c"].entries()) {
        yield* log.append("t", records(value))
        expect((yield* readAll(n + 1)).map((row) => row.value)).toEqual(["a", "b", "c"].slice(0, n + 1))
      }
    }).pipe(Effect.provide(EmbeddedLog.layer(fresh())))
  )

  it.scoped("sees within one poll what another connection appended", () =>
    Effect.gen(function* () {
      const options = fresh()
      const ours = Context.get(yield* Layer.build(EmbeddedLog.layer(options)), EventLog)
      const theirs = Context.get(yield* Layer.build(EmbeddedLog.layer(options)), EventLog)
      yield* ours.ensureTopic("t", 1)
      const reader = yield* ours.open(opening)
      const waiting = yield* Effect.fork(take(reader, 3))
      yield* Effect.yieldNow()
      yield* theirs.append("t", records("a", "b"))
      yield* TestClock.adjust(50)
      const mixed = yield* ours.append("t", records("c"))
      expect(mixed).toEqual([{ partition: 0, offset: 2 }])
      expect((yield* Fiber.join(waiting)).map((row) => row.value)).toEqual(["a", "b", "c"])
    })
  )

  it.scoped("trims whole blocks by size, and answers for what is gone with OffsetOutOfRange", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const upkeep = yield* EmbeddedLogUpkeep
      yield* log.ensureTopic("t", 1)
      for (const letter of ["a", "b", "c", "d"]) yield* log.append("t", records(letter.repeat(1_000), letter))
      const behind = yield* log.open(opening)
      expect(yield* upkeep.trim).toBe(2)
      const reader = yield* log.open({ ...opening, offset: "earliest" })
      expect(yield* reader.bounds).toEqual({ earliest: 4, end: 8 })
      expect((yield* take(reader, 4)).map((row) => row.offset)).toEqual([4, 5, 6, 7])
      expect(yield* Effect.flip(behind.fetch(0))).toMatchObject({
        _tag: "OffsetOutOfRange",
        offset: 0,
        earliest: 4
      })
    }).pipe(Effect.provide(EmbeddedLog.layer(fresh({ retainBytesMax: 2_200 }))))
  )

  it.scoped("trims by age, and goes on with the next offset when all is gone", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const upkeep = yield* EmbeddedLogUpkeep
      yield* log.ensureTopic("t", 1)
      yield* log.append("t", records("a", "b"))
      yield* TestClock.adjust(1_001)
      expect(yield* upkeep.trim).toBe(1)
      expect(yield* log.append("t", records("c"))).toEqual([{ partition: 0, offset: 2 }])
      const reader = yield* log.open({ ...opening, offset: "earliest" })
      expect((yield* take(reader, 1))[0]).toMatchObject({ offset: 2, value: "c" })
    }).pipe(Effect.provide(EmbeddedLog.layer(fresh({ retainMillis: 1_000 }))))
  )

  it.scoped(
    "gathers small appends into few blocks and reads many blocks in one fetch, within its bytes",
    () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("t", 1)
        for (let i = 0; i < 40; i++) yield* log.append("t", records("x".repeat(900)))
        const reader = yield* log.open({ ...opening, fetchBytesMax: 10_000 })
        const batch = yield* reader.fetch(0)
        expect(batch?.count).toBe(10)
        expect(batch?.endOffset).toBe(40)
        if (batch !== undefined) expect(rowsOf(batch)[9]).toMatchObject({ offset: 9, value: "x".repeat(900) })
      }).pipe(Effect.provide(EmbeddedLog.layer(fresh())))
  )

  it.scoped("keeps the committed place of the newest epoch", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const upkeep = yield* EmbeddedLogUpkeep
      yield* log.ensureTopic("t", 1)
      yield* log.append("t", records("a", "b", "c"))
      const old = yield* log.open(opening)
      const young = yield* log.open({ ...opening, epoch: 2 })
      yield* young.commit(3)
      yield* old.commit(1)
      expect(yield* upkeep.committed("s", "t")).toEqual(new Map([[0, 3]]))
    }).pipe(Effect.provide(EmbeddedLog.layer(fresh())))
  )

  it.effect("says which file could not be opened", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Layer.build(EmbeddedLog.layer({ ...fresh(), filename: join(folder, "no", "such", "folder.db") }))
      )
      expect(error.message).toContain("folder.db")
    }).pipe(Effect.scoped)
  )
})
