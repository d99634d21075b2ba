// A checkpoint store in memory: the same statements as on SQL, each of which may be held up at a gate.
import { Effect, Exit } from "effect"
import { Fenced, StorageUnavailable } from "../../src/schema/error/StorageError.ts"
import type { CellKey, Checkpoint, RecordedCommand } from "../../src/services/state/Checkpoint.ts"
import type { Gate } from "./gate.ts"

interface Piece {
  readonly seq: number
  readonly bytes: Uint8Array
}

interface CellTables {
  epoch: number
  checkpoint:
    | { readonly seq: number; readonly nextOffset: number; readonly shape: string; readonly devices: number }
    | undefined
  blobs: Map<string, Uint8Array>
  pages: Map<number, Piece>
  deltas: Map<number, Uint8Array>
  readonly commands: Array<RecordedCommand>
}

/** A write as it was done, in the order in which they were. */
export type DoneWrite =
  | { readonly what: "claim" | "clear" | "record" | "device"; readonly epoch: number }
  | { readonly what: "save"; readonly epoch: number; readonly nextOffset: number }

export interface CheckpointTables {
  readonly of: (key: CellKey) => CellTables
  readonly done: (write: DoneWrite) => void
}

export const makeCheckpointTables = (done: (write: DoneWrite) => void = () => {}): CheckpointTables => {
  const cells = new Map<string, CellTables>()
  return {
    done,
    of: ({ stream, partition }) => {
      const name = `${stream}/${partition}`
      const known = cells.get(name)
      if (known !== undefined) return known
      const made: CellTables = {
        epoch: 0,
        checkpoint: undefined,
        blobs: new Map(),
        pages: new Map(),
        deltas: new Map(),
        commands: []
      }
      cells.set(name, made)
      return made
    }
  }
}

/** As many as the adapter on SQL reads at once. */
const DELTAS_PER_READ = 16

/** `fence: false` is how a simulation shows that it would find out. */
export const memoryCheckpoint = (
  tables: CheckpointTables,
  gate: Gate,
  { fence = true }: { readonly fence?: boolean } = {}
): Checkpoint["Type"] => {
  const ask = <A, E>(what: string, apply: () => Exit.Exit<A, E>) =>
    gate<A, E | StorageUnavailable>(
      what,
      apply,
      (detail) => new StorageUnavailable({ operation: what, detail })
    )
  const read = <A>(what: string, apply: () => A) => ask(what, () => Exit.succeed(apply()))
  const fenced = <A>(
    key: CellKey,
    epoch: number,
    what: DoneWrite["what"],
    apply: (cell: CellTables) => Exit.Exit<A, StorageUnavailable>
  ) =>
    ask<A, StorageUnavailable | Fenced>(what, () => {
      const cell = tables.of(key)
      return !fence || cell.epoch === epoch
        ? apply(cell)
        : Exit.fail(new Fenced({ ...key, epoch, current: cell.epoch }))
    })

  return {
    claim: (key) =>
      read("claim", () => {
        const epoch = ++tables.of(key).epoch
        tables.done({ what: "claim", epoch })
        return epoch
      }),

    epoch: (key) => read("read epoch", () => tables.of(key).epoch),

    load: (key) =>
      Effect.gen(function* () {
        const checkpoint = yield* read("load checkpoint", () => tables.of(key).checkpoint)
        if (checkpoint === undefined) return undefined
        return { ...checkpoint, blobs: yield* read("load blobs", () => new Map(tables.of(key).blobs)) }
      }),

    pieces: (key, take) =>
      Effect.gen(function* () {
        const pages = yield* read("list pages", () => [...tables.of(key).pages.keys()].sort((a, b) => a - b))
        for (const page of pages) {
          const found = yield* read("load page", () => tables.of(key).pages.get(page))
          if (found !== undefined) yield* take({ kind: "page", page, ...found })
        }
        let after = -1
        for (;;) {
          const from = after
          const found = yield* read("load deltas", () =>
            [...tables.of(key).deltas]
              .filter(([seq]) => seq > from)
              .sort(([a], [b]) => a - b)
              .slice(0, DELTAS_PER_READ)
          )
          for (const [seq, bytes] of found) yield* take({ kind: "delta", seq, bytes })
          if (found.length < DELTAS_PER_READ) return
          after = found[found.length - 1][0]
        }
      }),

    save: (write) =>
      fenced(write.key, write.epoch, "save", (cell) => {
        const { blobs, delta, devices, dropDeltasBelow, nextOffset, pages, seq, shape } = write
        if (shape === null) {
          return Exit.fail(new StorageUnavailable({ operation: "save", detail: "shape must not be null" }))
        }
        for (const [name, bytes] of blobs) cell.blobs.set(name, bytes.slice())
        if (delta !== undefined) cell.deltas.set(seq, delta.slice())
        for (const { page, bytes } of pages) cell.pages.set(page, { seq, bytes: bytes.slice() })
        for (const old of [...cell.deltas.keys()]) if (old < dropDeltasBelow) cell.deltas.delete(old)
        cell.checkpoint = { seq, nextOffset, shape, devices }
        tables.done({ what: "save", epoch: write.epoch, nextOffset })
        return Exit.void
      }),

    clear: (key, epoch) =>
      fenced(key, epoch, "clear", (cell) => {
        cell.blobs.clear()
        cell.pages.clear()
        cell.deltas.clear()
        tables.done({ what: "clear", epoch })
        return Exit.void
      }),

    commandsFrom: (key, offset) =>
      read("load commands", () =>
        tables
          .of(key)
          .commands.filter((command) => command.fromOffset >= offset)
          .sort((a, b) => a.fromOffset - b.fromOffset || a.seq - b.seq)
      ),

    record: (key, epoch, commandId, fromOffset, change) =>
      fenced<{ readonly command: RecordedCommand; readonly fresh: boolean }>(key, epoch, "record", (cell) => {
        const known = cell.commands.find((command) => command.commandId === commandId)
        if (known !== undefined) return Exit.succeed({ command: known, fresh: false })
        const seq = cell.commands.reduce((most, command) => Math.max(most, command.seq), 0) + 1
        const command = { commandId, seq, fromOffset, epoch, change: structuredClone(change) }
        cell.commands.push(command)
        tables.done({ what: "record", epoch })
        return Exit.succeed({ command, fresh: true })
      })
  }
}
