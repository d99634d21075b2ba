// Checkpoints in SQL: every write is one transaction that first looks whether the epoch is still the owner's.
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect, Layer, Schema } from "effect"
import { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import { CellChange } from "../../schema/protocol/CellProtocol.ts"
import { blobBytes } from "../runtime/Database.ts"
import { type CellKey, Checkpoint, type RecordedCommand } from "./Checkpoint.ts"

const encodeChange = Schema.encodeSync(Schema.parseJson(CellChange))
const decodeChange = Schema.decodeSync(Schema.parseJson(CellChange))

interface CommandRow {
  readonly command_id: string
  readonly seq: number
  readonly from_offset: number
  readonly epoch: number
  readonly change_json: string
}

const toCommand = (row: CommandRow): RecordedCommand => ({
  commandId: row.command_id,
  seq: Number(row.seq),
  fromOffset: Number(row.from_offset),
  epoch: Number(row.epoch),
  change: decodeChange(row.change_json)
})

/** Maps a driver's error to the stage's own; the detail is the driver's sentence. */
export const storageError = (operation: string) => (error: SqlError) =>
  new StorageUnavailable({
    operation,
    detail: error.cause instanceof Error ? error.cause.message : (error.message ?? "unknown database error")
  })

/** How many deltas are read at once: bounds memory at start. */
const DELTAS_PER_READ = 16

export const layer: Layer.Layer<Checkpoint, never, SqlClient.SqlClient> = Layer.effect(
  Checkpoint,
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    // A claim waits for every write in the owner's name, and they for it; a cell's devices (SqlActorStore) and its
    // checkpoints don't wait for each other.
    const lockOf = (words: string) =>
      sql.onDialectOrElse({ pg: () => sql.literal(words), orElse: () => sql.literal("") })
    const lock = lockOf("FOR NO KEY UPDATE")
    const claimLock = lockOf("FOR UPDATE")

    const epochOf = (key: CellKey, locking = sql.literal("")) =>
      Effect.map(
        sql<{ epoch: number }>`SELECT epoch FROM cell_epoch
          WHERE stream = ${key.stream} AND partition_id = ${key.partition} ${locking}`,
        (rows) => (rows.length === 0 ? 0 : Number(rows[0].epoch))
      )

    const fenced = <A, E>(
      key: CellKey,
      epoch: number,
      operation: string,
      body: Effect.Effect<A, E | SqlError>
    ) =>
      sql
        .withTransaction(
          Effect.gen(function* () {
            const current = yield* epochOf(key, lock)
            if (current !== epoch) return yield* new Fenced({ ...key, epoch, current })
            return yield* body
          })
        )
        .pipe(Effect.catchTag("SqlError", (error) => Effect.fail(storageError(operation)(error as SqlError))))

    const clearState = (key: CellKey) =>
      Effect.gen(function* () {
        const where = sql`stream = ${key.stream} AND partition_id = ${key.partition}`
        yield* sql`DELETE FROM cell_page WHERE ${where}`
        yield* sql`DELETE FROM cell_delta WHERE ${where}`
        yield* sql`DELETE FROM cell_blob WHERE ${where}`
      })

    return Checkpoint.of({
      claim: (key, owner) =>
        sql
          .withTransaction(
            Effect.gen(function* () {
              yield* epochOf(key, claimLock)
              yield* sql`INSERT INTO cell_epoch (stream, partition_id, epoch, owner)
                VALUES (${key.stream}, ${key.partition}, 1, ${owner})
                ON CONFLICT (stream, partition_id) DO UPDATE SET epoch = cell_epoch.epoch + 1, owner = ${owner}`
              const rows = yield* sql<{ epoch: number }>`SELECT epoch FROM cell_epoch
                WHERE stream = ${key.stream} AND partition_id = ${key.partition}`
              return Number(rows[0].epoch)
            })
          )
          .pipe(Effect.mapError(storageError("give the cell a new epoch"))),

      epoch: (key) => Effect.mapError(epochOf(key), storageError("read the cell's epoch")),

      load: (key) =>
        Effect.gen(function* () {
          const where = sql`stream = ${key.stream} AND partition_id = ${key.partition}`
          const rows = yield* sql<{ seq: number; next_offset: number; shape: string; devices: number }>`
            SELECT seq, next_offset, shape, devices FROM cell_checkpoint WHERE ${where}`
          if (rows.length === 0) return undefined
          const blobs = yield* sql<{
            name: string
            bytes: Uint8Array
          }>`SELECT name, bytes FROM cell_blob WHERE ${where}`
          return {
            seq: Number(rows[0].seq),
            nextOffset: Number(rows[0].next_offset),
            shape: rows[0].shape,
            devices: Number(rows[0].devices),
            blobs: new Map(blobs.map((blob) => [blob.name, blobBytes(blob.bytes)]))
          }
        }).pipe(Effect.mapError(storageError("read the cell's checkpoint"))),

      pieces: (key, take) =>
        Effect.gen(function* () {
          const where = sql`stream = ${key.stream} AND partition_id = ${key.partition}`
          const pages = yield* sql<{ page: number }>`SELECT page FROM cell_page WHERE ${where} ORDER BY page`
          for (const { page } of pages) {
            const rows = yield* sql<{ seq: number; bytes: Uint8Array }>`
              SELECT seq, bytes FROM cell_page WHERE ${where} AND page = ${page}`
            for (const row of rows) {
              yield* take({
                kind: "page",
                page: Number(page),
                seq: Number(row.seq),
                bytes: blobBytes(row.bytes)
              })
            }
          }
          let after = -1
          for (;;) {
            const rows = yield* sql<{ seq: number; bytes: Uint8Array }>`SELECT seq, bytes FROM cell_delta
              WHERE ${where} AND seq > ${after} ORDER BY seq LIMIT ${DELTAS_PER_READ}`
            for (const row of rows)
              yield* take({ kind: "delta", seq: Number(row.seq), bytes: blobBytes(row.bytes) })
            if (rows.length < DELTAS_PER_READ) return
            after = Number(rows[rows.length - 1].seq)
          }
        }).pipe(
          Effect.catchTag("SqlError", (error) => Effect.fail(storageError("read the cell's state")(error)))
        ),

      save: (write) =>
        fenced(
          write.key,
          write.epoch,
          "write the checkpoint",
          Effect.gen(function* () {
            const { stream, partition } = write.key
            const at = { stream, partition_id: partition }
            for (const [name, bytes] of write.blobs) {
              yield* sql`INSERT INTO cell_blob ${sql.insert({ ...at, name, bytes })}
                ON CONFLICT (stream, partition_id, name) DO UPDATE SET bytes = excluded.bytes`
            }
            if (write.delta !== undefined) {
              // A write whose outcome its caller never learned comes again under the same number, with more in it.
              yield* sql`INSERT INTO cell_delta ${sql.insert({ ...at, seq: write.seq, bytes: write.delta })}
                ON CONFLICT (stream, partition_id, seq) DO UPDATE SET bytes = excluded.bytes`
            }
            for (const { page, bytes } of write.pages) {
              yield* sql`INSERT INTO cell_page ${sql.insert({ ...at, page, seq: write.seq, bytes })}
                ON CONFLICT (stream, partition_id, page) DO UPDATE SET seq = excluded.seq, bytes = excluded.bytes`
            }
            yield* sql`DELETE FROM cell_delta
              WHERE stream = ${stream} AND partition_id = ${partition} AND seq < ${write.dropDeltasBelow}`
            yield* sql`INSERT INTO cell_checkpoint ${sql.insert({
              ...at,
              epoch: write.epoch,
              seq: write.seq,
              next_offset: write.nextOffset,
              shape: write.shape,
              devices: write.devices
            })} ON CONFLICT (stream, partition_id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
              next_offset = excluded.next_offset, shape = excluded.shape, devices = excluded.devices`
          })
        ) as Effect.Effect<void, StorageUnavailable | Fenced>,

      clear: (key, epoch) =>
        fenced(key, epoch, "clear the cell's state", clearState(key)) as Effect.Effect<
          void,
          StorageUnavailable | Fenced
        >,

      commandsFrom: (key, offset) =>
        sql<CommandRow>`SELECT command_id, seq, from_offset, epoch, change_json FROM cell_command
          WHERE stream = ${key.stream} AND partition_id = ${key.partition} AND from_offset >= ${offset}
          ORDER BY from_offset, seq`.pipe(
          Effect.map((rows) => rows.map(toCommand)),
          Effect.mapError(storageError("read the cell's commands"))
        ),

      record: (key, epoch, commandId, fromOffset, change) =>
        fenced(
          key,
          epoch,
          "record the command",
          Effect.gen(function* () {
            const where = sql`stream = ${key.stream} AND partition_id = ${key.partition}`
            const known = yield* sql<CommandRow>`SELECT command_id, seq, from_offset, epoch, change_json
              FROM cell_command WHERE ${where} AND command_id = ${commandId}`
            if (known.length > 0) return { command: toCommand(known[0]), fresh: false }
            const last = yield* sql<{
              seq: number | null
            }>`SELECT MAX(seq) AS seq FROM cell_command WHERE ${where}`
            const seq = Number(last[0].seq ?? 0) + 1
            yield* sql`INSERT INTO cell_command ${sql.insert({
              stream: key.stream,
              partition_id: key.partition,
              command_id: commandId,
              seq,
              from_offset: fromOffset,
              epoch,
              change_json: encodeChange(change)
            })}`
            return { command: { commandId, seq, fromOffset, epoch, change }, fresh: true }
          })
        ) as Effect.Effect<{ command: RecordedCommand; fresh: boolean }, StorageUnavailable | Fenced>
    })
  })
)
