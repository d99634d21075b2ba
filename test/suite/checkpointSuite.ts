// What every Checkpoint must do, whatever it is made of.
import { describe, expect, it } from "@effect/vitest"
import { Effect, type Layer } from "effect"
import type { Fenced } from "../../src/schema/error/StorageError.ts"
import {
  type CellKey,
  Checkpoint,
  type CheckpointWrite,
  type StoredPiece
} from "../../src/services/state/Checkpoint.ts"

const key = (partition: number): CellKey => ({ stream: "flows", partition })
const bytes = (...values: Array<number>) => Uint8Array.from(values)

const write = (
  partition: number,
  epoch: number,
  seq: number,
  more: Partial<CheckpointWrite> = {}
): CheckpointWrite => ({
  key: key(partition),
  epoch,
  seq,
  nextOffset: seq * 100,
  shape: "s",
  devices: seq,
  blobs: new Map(),
  delta: bytes(seq),
  pages: [],
  dropDeltasBelow: 0,
  ...more
})

const pieces = (partition: number) =>
  Effect.gen(function* () {
    const store = yield* Checkpoint
    const seen: Array<StoredPiece> = []
    yield* store.pieces(key(partition), (piece) => Effect.sync(() => void seen.push(piece)))
    return seen.map(
      (piece) =>
        `${piece.kind}${piece.kind === "page" ? piece.page : ""}@${piece.seq}:${[...piece.bytes].join(",")}`
    )
  })

export const checkpointSuite = (name: string, layer: Layer.Layer<Checkpoint, unknown>) =>
  describe(`Checkpoint on ${name}`, () => {
    it.scoped("gives every claim a higher epoch, also to the same owner", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        expect(yield* store.epoch(key(0))).toBe(0)
        expect(yield* store.claim(key(0), "a")).toBe(1)
        expect(yield* store.claim(key(0), "a")).toBe(2)
        expect(yield* store.claim(key(0), "b")).toBe(3)
        expect(yield* store.claim(key(1), "b")).toBe(1)
        expect(yield* store.epoch(key(0))).toBe(3)
        expect(yield* store.epoch(key(1))).toBe(1)
      }).pipe(Effect.provide(layer))
    )

    it.scoped("reads back what was saved, the last word of each blob", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        const epoch = yield* store.claim(key(0), "a")
        expect(yield* store.load(key(0))).toBeUndefined()
        yield* store.save(
          write(0, epoch, 1, {
            blobs: new Map([
              ["x", bytes(1)],
              ["y", bytes(2)]
            ])
          })
        )
        yield* store.save(write(0, epoch, 2, { blobs: new Map([["x", bytes(3)]]), shape: "t" }))
        const loaded = yield* store.load(key(0))
        expect(loaded).toMatchObject({ seq: 2, nextOffset: 200, shape: "t", devices: 2 })
        expect([...(loaded?.blobs.get("x") ?? [])]).toEqual([3])
        expect([...(loaded?.blobs.get("y") ?? [])]).toEqual([2])
      }).pipe(Effect.provide(layer))
    )

    it.scoped("gives pages first, then deltas in order, without those that no page needs", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        const epoch = yield* store.claim(key(0), "a")
        for (let seq = 1; seq <= 40; seq++) yield* store.save(write(0, epoch, seq))
        yield* store.save(
          write(0, epoch, 41, {
            delta: undefined,
            pages: [
              { page: 1, bytes: bytes(9) },
              { page: 0, bytes: bytes(8) }
            ],
            dropDeltasBelow: 39
          })
        )
        yield* store.save(
          write(0, epoch, 42, {
            delta: undefined,
            pages: [{ page: 0, bytes: bytes(7) }],
            dropDeltasBelow: 39
          })
        )
        expect(yield* pieces(0)).toEqual(["page0@42:7", "page1@41:9", "delta@39:39", "delta@40:40"])
      }).pipe(Effect.provide(layer))
    )

    it.scoped("refuses every write of an older epoch and changes nothing", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        const old = yield* store.claim(key(0), "a")
        yield* store.save(write(0, old, 1))
        const current = yield* store.claim(key(0), "b")
        const refused = yield* Effect.flip(store.save(write(0, old, 2)))
        expect(refused).toMatchObject({ _tag: "Fenced", epoch: old, current })
        const command = yield* Effect.flip(
          store.record(key(0), old, "c", 5, { _tag: "Release", device: "d" })
        )
        expect((command as Fenced)._tag).toBe("Fenced")
        expect((yield* Effect.flip(store.clear(key(0), old)))._tag).toBe("Fenced")
        expect(yield* store.load(key(0))).toMatchObject({ seq: 1, nextOffset: 100 })
        expect(yield* store.commandsFrom(key(0), 0)).toEqual([])
      }).pipe(Effect.provide(layer))
    )

    it.scoped("leaves nothing of a checkpoint that fails half way", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        const epoch = yield* store.claim(key(0), "a")
        yield* store.save(write(0, epoch, 1, { blobs: new Map([["x", bytes(1)]]) }))
        // No database takes a checkpoint without a shape, and that is found after the blob was written.
        const shapeless = { shape: null as unknown as string, nextOffset: 999 }
        const failed = yield* Effect.flip(
          store.save(write(0, epoch, 2, { blobs: new Map([["x", bytes(2)]]), ...shapeless }))
        )
        expect(failed._tag).toBe("StorageUnavailable")
        const loaded = yield* store.load(key(0))
        expect(loaded?.nextOffset).toBe(100)
        expect([...(loaded?.blobs.get("x") ?? [])]).toEqual([1])
      }).pipe(Effect.provide(layer))
    )

    it.scoped("takes a checkpoint again under its number, from an owner that never heard of the first", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        const epoch = yield* store.claim(key(0), "a")
        yield* store.save(write(0, epoch, 1, { delta: bytes(1), nextOffset: 100 }))
        yield* store.save(write(0, epoch, 1, { delta: bytes(1, 2), nextOffset: 200 }))
        expect((yield* store.load(key(0)))?.nextOffset).toBe(200)
        const deltas: Array<ReadonlyArray<number>> = []
        yield* store.pieces(key(0), (piece) => Effect.sync(() => void deltas.push([...piece.bytes])))
        expect(deltas).toEqual([[1, 2]])
      }).pipe(Effect.provide(layer))
    )

    it.scoped("records a command once and answers the same again", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        const epoch = yield* store.claim(key(0), "a")
        const change = { _tag: "Quarantine", device: "d-1" } as const
        const first = yield* store.record(key(0), epoch, "c1", 70, change)
        expect(first).toMatchObject({ fresh: true, command: { fromOffset: 70, seq: 1 } })
        const newer = yield* store.claim(key(0), "b")
        const second = yield* store.record(key(0), newer, "c1", 90, change)
        expect(second).toMatchObject({ fresh: false, command: { fromOffset: 70, epoch } })
        yield* store.record(key(0), newer, "c2", 70, { _tag: "Release", device: "d-1" })
        yield* store.record(key(0), newer, "c3", 10, { _tag: "ClearOverride", device: "d-1" })
        const from = yield* store.commandsFrom(key(0), 11)
        expect(from.map((command) => command.commandId)).toEqual(["c1", "c2"])
        expect(from[0].change).toEqual(change)
      }).pipe(Effect.provide(layer))
    )

    it.scoped("clears state and keeps commands", () =>
      Effect.gen(function* () {
        const store = yield* Checkpoint
        const epoch = yield* store.claim(key(0), "a")
        yield* store.save(
          write(0, epoch, 1, { pages: [{ page: 0, bytes: bytes(1) }], blobs: new Map([["x", bytes(1)]]) })
        )
        yield* store.record(key(0), epoch, "c1", 70, { _tag: "Release", device: "d" })
        yield* store.clear(key(0), epoch)
        expect(yield* pieces(0)).toEqual([])
        expect((yield* store.load(key(0)))?.blobs.size).toBe(0)
        expect((yield* store.load(key(0)))?.nextOffset).toBe(100)
        expect(yield* store.commandsFrom(key(0), 0)).toHaveLength(1)
      }).pipe(Effect.provide(layer))
    )
  })
