// A cell's state to and from its checkpoint: deltas of the rows touched, and a base whose pages are rewritten in turn.
import { Effect } from "effect"
import { CorruptState } from "../../schema/error/StorageError.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { foundOpen } from "../../services/score/breaker.ts"
import {
  type CellKey,
  Checkpoint,
  type CheckpointWrite,
  type RecordedCommand
} from "../../services/state/Checkpoint.ts"
import { decodeCellState, encodeCellState } from "../../services/state/cellState.ts"
import { grow, returnDirty, takeDirty } from "../../services/state/columns.ts"
import { applyRows, BadDelta, encodePage, encodeRows } from "../../services/state/delta.ts"
import { encodeIdPage, idPagesSince, restoreIdPages } from "../../services/state/idWindow.ts"
import { type BasePages, makeBasePages, PAGE_ROWS } from "./basePages.ts"
import { type CellCore, makeCellCore, type SkippedRecord } from "./cellCore.ts"

export interface RestoredCell {
  readonly core: CellCore
  /** Recorded commands that are still to be applied, by offset. */
  readonly commands: Array<RecordedCommand>
  readonly shape: string
  readonly base: BasePages
  /** Number of the last snapshot. Each has its own: one whose writer never heard of it may be stored all the same. */
  seq: number
  /** Gives up the last snapshot while it is not known to be stored. */
  unsettled: (() => void) | undefined
  idsWritten: number
  dictionariesWritten: Array<number>
}

/** Names what the columns of a state mean; a state of another shape is of no use to this plan. */
export const shapeOf = (plan: StreamPlan): string =>
  JSON.stringify([
    plan.numbers.map((column) => [column.name, column.log]),
    plan.windows.map((window) => [window.name, window.overMillis, window.field]),
    plan.categories.map((column) => [column.name, column.size])
  ])

interface Extra {
  readonly model: string | null
  /** Why it scores without its model; missing in checkpoints from before this was recorded. */
  readonly away?: string | null
  readonly open: ReadonlyArray<Step>
  readonly skips: ReadonlyArray<SkippedRecord>
}

const extraOf = (core: CellCore): Extra => ({
  model: core.modelDigest,
  away: core.modelAway,
  open: Object.entries(core.breakers).flatMap(([step, breaker]) =>
    breaker.state === "closed" ? [] : [step as Step]
  ),
  skips: [...core.skips.values()].filter((skip) => skip.offset >= core.nextOffset)
})

/** Reads what the last owner left, or starts from nothing: `nextOffset` −1 means the earliest record held. */
export const restoreCell = (key: CellKey, plan: StreamPlan, epoch: number) =>
  Effect.gen(function* () {
    const settings = yield* Settings
    const store = yield* Checkpoint
    const shape = shapeOf(plan)
    const core = makeCellCore(
      plan,
      {
        batchEventsMax: settings.cell.batchEventsMax,
        eventBytesMax: settings.cell.eventBytesMax,
        depthMax: settings.cell.depthMax,
        dedupeEventsMax: settings.cell.dedupeEventsMax
      },
      key.partition
    )
    const base = makeBasePages()
    const stored = yield* store.load(key)
    const commands = [...(yield* store.commandsFrom(key, stored?.nextOffset ?? 0))]
    const restored: RestoredCell = {
      core,
      commands,
      shape,
      base,
      seq: stored?.seq ?? 0,
      unsettled: undefined,
      idsWritten: 0,
      dictionariesWritten: plan.categories.map(() => 0)
    }
    core.nextOffset = stored?.nextOffset ?? -1
    if (stored === undefined) return restored
    const extraBytes = stored.blobs.get("extra")
    const corrupt = (cause: unknown) =>
      new CorruptState({
        what: `The state of cell ${key.stream}/${key.partition}`,
        detail: cause instanceof Error ? cause.message : String(cause)
      })
    if (extraBytes !== undefined) {
      const extra = yield* Effect.try({
        try: () => JSON.parse(new TextDecoder().decode(extraBytes)) as Extra,
        catch: corrupt
      })
      core.modelDigest = extra.model
      core.modelAway = extra.away ?? null
      for (const step of extra.open) {
        core.breakers[step] = foundOpen("it was open at the last checkpoint")
      }
      core.skips = new Map(extra.skips.map((skip) => [skip.offset, skip]))
    }
    if (stored.shape !== shape) {
      yield* Effect.logWarning(
        `the fields of stream ${key.stream} have changed: cell ${key.partition} learns its baselines anew, from offset ${stored.nextOffset} on`
      )
      yield* store.clear(key, epoch)
      return restored
    }
    grow(core.columns, stored.devices)
    core.deviceIds.reserve(stored.devices)
    yield* store.pieces(key, (piece) =>
      Effect.try({
        try: () => {
          if (piece.kind === "page") {
            const before = core.devices
            applyRows(core.columns, core.deviceIds, piece.bytes)
            base.loaded(piece.page, piece.seq, Math.min(PAGE_ROWS, core.devices - piece.page * PAGE_ROWS))
            if (before > piece.page * PAGE_ROWS) throw new BadDelta(`page ${piece.page} overlaps another`)
          } else applyRows(core.columns, core.deviceIds, piece.bytes, (row) => base.seqOf(row) < piece.seq)
        },
        catch: corrupt
      })
    )
    yield* Effect.try({
      try: () => {
        const blob = stored.blobs.get("cell")
        if (blob !== undefined) decodeCellState(blob, core.state)
        const drift = stored.blobs.get("drift")
        if (drift !== undefined && core.modelDigest !== null) core.drift.restore(core.modelDigest, drift)
        const pages = new Map<number, Uint8Array>()
        for (const [name, bytes] of stored.blobs) {
          if (name.startsWith("ids/")) pages.set(Number(name.slice(4)), bytes)
        }
        restoreIdPages(core.state.ids, pages)
        core.categoryIds.forEach((interner, column) => {
          const bytes = stored.blobs.get(`dictionary/${column}`)
          if (bytes !== undefined && interner.restore(bytes) < 0) {
            throw new BadDelta(`the dictionary of ${plan.categories[column].name} is cut`)
          }
        })
      },
      catch: corrupt
    })
    restored.idsWritten = core.state.ids.written
    restored.dictionariesWritten = core.categoryIds.map((interner) => interner.count)
    return restored
  })

/** What has changed up to an offset, as bytes of its own: the cell may go on while they are written. */
export interface Snapshot {
  readonly write: CheckpointWrite
  readonly bytes: number
  /** It is stored; or nobody knows, and all of it goes into the next one. The first call counts. */
  readonly kept: () => void
  readonly lost: () => void
}

/**
 * Takes what has changed since the last snapshot that was stored; one that nobody has told the end of, as after an
 * interruption, is lost with this.
 */
export const takeSnapshot = (key: CellKey, epoch: number, cell: RestoredCell): Snapshot => {
  const { core, base } = cell
  cell.unsettled?.()
  const rows = takeDirty(core.columns)
  const seq = ++cell.seq
  const { devices } = core
  const blobs = new Map<string, Uint8Array>()
  blobs.set("cell", encodeCellState(core.state))
  const drift = core.drift.counts()
  // Also where there is none, so that a model that comes back begins anew.
  blobs.set("drift", drift?.bytes ?? new Uint8Array(1))
  blobs.set("extra", new TextEncoder().encode(JSON.stringify(extraOf(core))))
  const idsWritten = core.state.ids.written
  for (const page of idPagesSince(core.state.ids, cell.idsWritten)) {
    blobs.set(`ids/${page}`, encodeIdPage(core.state.ids, page))
  }
  const dictionaries = core.categoryIds.map((interner) => interner.count)
  dictionaries.forEach((count, column) => {
    if (count !== cell.dictionariesWritten[column]) {
      blobs.set(`dictionary/${column}`, core.categoryIds[column].serialize(0, count))
    }
  })
  const delta = rows.length === 0 ? undefined : encodeRows(core.columns, core.deviceIds, rows)
  const turn = base.nextPages(devices, delta?.length ?? 0, core.bytesPerRow)
  const pages = turn.map((page) => ({
    page,
    bytes: encodePage(core.columns, core.deviceIds, page * PAGE_ROWS, (page + 1) * PAGE_ROWS)
  }))
  core.changed = false
  let bytes = delta?.length ?? 0
  for (const blob of blobs.values()) bytes += blob.length
  for (const page of pages) bytes += page.bytes.length
  let open = true
  const settling = (settle: () => void) => () => {
    if (!open) return
    open = false
    cell.unsettled = undefined
    settle()
  }
  const lost = settling(() => {
    returnDirty(core.columns, rows)
    core.changed = true
  })
  cell.unsettled = lost
  return {
    write: {
      key,
      epoch,
      seq,
      nextOffset: Math.max(0, core.nextOffset),
      shape: cell.shape,
      devices,
      blobs,
      delta,
      pages,
      dropDeltasBelow: base.dropBelow(devices, turn, seq)
    },
    bytes,
    kept: settling(() => {
      cell.idsWritten = idsWritten
      cell.dictionariesWritten = dictionaries
      for (const page of turn) base.wrote(page, seq, devices)
    }),
    lost
  }
}

/** Stores a snapshot. Interrupted, it may be stored all the same; the next one then holds all of it once more. */
export const writeSnapshot = (store: Checkpoint["Type"], snapshot: Snapshot) =>
  store.save(snapshot.write).pipe(
    Effect.tapErrorCause(() => Effect.sync(snapshot.lost)),
    Effect.zipRight(Effect.sync(snapshot.kept))
  )
