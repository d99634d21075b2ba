// Group commit: what waits together is written together, within its bounds.
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { LogUnavailable } from "../../../src/schema/error/IngestError.ts"
import { makeGroupCommit, type PendingAppend } from "../../../src/services/ingest/GroupCommit.ts"

const kib = 1_024
/** One record that is counted as exactly `size` bytes. */
const sized = (size: number) => [{ key: null, value: new Uint8Array(size - 32) }]

/** A log whose writes wait for `open`; remembers its groups. */
const gated = Effect.gen(function* () {
  const gate = yield* Deferred.make<void>()
  const groups: Array<ReadonlyArray<PendingAppend>> = []
  const write = (group: ReadonlyArray<PendingAppend>) =>
    Effect.gen(function* () {
      groups.push(group)
      yield* Deferred.await(gate)
      group.forEach((append, i) => {
        append.done(Exit.succeed([{ partition: 0, offset: i }]))
      })
    })
  return { groups, write, open: Deferred.succeed(gate, undefined) }
})
// The writer gives the sockets a round of the event loop before it closes a group; so does this.
const round = Effect.async<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})
const settle = Effect.forEach(Array.from({ length: 5 }), () => Effect.zipRight(Effect.yieldNow(), round), {
  discard: true
})

describe("makeGroupCommit", () => {
  it.scoped("writes what came during a write as one group", () =>
    Effect.gen(function* () {
      const log = yield* gated
      const append = yield* makeGroupCommit(
        { pendingBytesMax: 1_000 * kib, groupBytesMax: 100 * kib },
        log.write
      )
      const fibers = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        Effect.fork(append("t", sized(kib), [0]))
      )
      yield* settle
      yield* log.open
      yield* Effect.forEach(fibers, Fiber.join)
      expect(log.groups.flat().length).toBe(20)
      expect(log.groups.length).toBeLessThanOrEqual(2)
    })
  )

  it.scoped("fails the appends of a group that can't be written, and writes those after it", () =>
    Effect.gen(function* () {
      let writes = 0
      const write = (group: ReadonlyArray<PendingAppend>) =>
        Effect.sync(() => {
          if (writes++ === 0) throw new Error("a failpoint")
          for (const append of group) append.done(Exit.succeed([]))
        })
      const append = yield* makeGroupCommit({ pendingBytesMax: kib, groupBytesMax: kib }, write)
      const error = yield* Effect.flip(append("t", sized(kib), [0]))
      expect(error).toBeInstanceOf(LogUnavailable)
      expect(error.detail).toContain("a failpoint")
      yield* append("t", sized(kib), [0])
    })
  )

  it.scoped("closes a group at its bytes, and lets an append larger than that go alone", () =>
    Effect.gen(function* () {
      const log = yield* gated
      const append = yield* makeGroupCommit(
        { pendingBytesMax: 1_000 * kib, groupBytesMax: 4 * kib },
        log.write
      )
      const sizes = [1, 1, 1, 2, 9, 1, 1]
      const fibers = yield* Effect.forEach(sizes, (size) => Effect.fork(append("t", sized(size * kib), [0])))
      yield* settle
      yield* log.open
      yield* Effect.forEach(fibers, Fiber.join)
      const shape = log.groups.map((group) => group.reduce((sum, pending) => sum + pending.size / kib, 0))
      expect(shape.reduce((sum, size) => sum + size, 0)).toBe(16)
      expect(shape.filter((size) => size > 4)).toEqual([9])
    })
  )

  it.scoped("lets no more bytes under way than allowed; the others wait for room", () =>
    Effect.gen(function* () {
      const log = yield* gated
      const append = yield* makeGroupCommit({ pendingBytesMax: 3 * kib, groupBytesMax: kib }, log.write)
      let accepted = 0
      const fibers = yield* Effect.forEach(Array.from({ length: 10 }), () =>
        Effect.fork(Effect.tap(append("t", sized(kib), [0]), () => Effect.sync(() => accepted++)))
      )
      yield* settle
      expect([log.groups.length, accepted]).toEqual([1, 0])
      yield* log.open
      yield* Effect.forEach(fibers, Fiber.join)
      expect(accepted).toBe(10)
      expect(log.groups.every((group) => group.length === 1)).toBe(true)
    })
  )

  it.effect("tells who still waits when it is closed", () =>
    Effect.gen(function* () {
      const log = yield* gated
      const scope = yield* Scope.make()
      const append = yield* Scope.extend(
        makeGroupCommit({ pendingBytesMax: 100 * kib, groupBytesMax: kib }, log.write),
        scope
      )
      const waiting = yield* Effect.fork(Effect.flip(Effect.asVoid(append("t", sized(kib), [0]))))
      yield* settle
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      expect(yield* Fiber.join(waiting)).toBeInstanceOf(LogUnavailable)
    })
  )
})
