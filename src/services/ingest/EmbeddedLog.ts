// The event log in one SQLite file: Kafka's offsets and partitions for one process; appends are committed in groups.
import * as Reactivity from "@effect/experimental/Reactivity"
import { Clock, Context, Effect, Exit, Layer } from "effect"
import { LogUnavailable } from "../../schema/error/IngestError.ts"
import { makeSqliteThread } from "../runtime/SqliteThread.ts"
import type { SqliteStatement } from "../runtime/sqliteMessages.ts"
import { keepWalShort } from "../runtime/WalThread.ts"
import { openEmbeddedReader, orUnavailable, sqlDetail } from "./EmbeddedReader.ts"
import { type Appended, EventLog, EventSource, type NewRecord } from "./EventLog.ts"
import { makeGroupCommit, makePlacement, type PendingAppend } from "./GroupCommit.ts"
import { type BlockRecord, encodeBlock } from "./logBlock.ts"
import { type LogTail, makeLogTail, type TailBlock } from "./logTail.ts"
import { lowerHeaders } from "./recordBatch.ts"

/** Bounds, with their units in their names. */
export const embeddedLimits = {
  pendingBytesMax: 32 * 1_048_576,
  /** One transaction writes about this much: 5 ms a MiB, in which readers of the stored wait. */
  groupBytesMax: 2 * 1_048_576,
  /** A commit costs 0.1 to 0.4 ms of CPU, whatever it holds, and where appends are to survive the loss of power a sync. */
  spacingMillis: 4,
  /** How soon records appended by another process are seen, and by how much a wait for records may be longer. */
  pollMillis: 50,
  busyMillis: 5_000,
  /** Blocks looked at in one fetch. */
  fetchBlocksMax: 1_024,
  /** Latest bytes of each partition that is read that are kept in memory for its readers. */
  tailBytesMax: 2 * 1_048_576,
  /** After an append that failed there must be room for this much before the log counts as there again. */
  roomBytes: 1_048_576
}

export interface EmbeddedLogOptions {
  /** A database file of its own; made where missing. */
  readonly filename: string
  /** `full`: an append survives the loss of power. `normal`: it survives the loss of the process. */
  readonly synchronous: "full" | "normal"
  /** Bytes kept of a partition when `trim` runs; all by default. */
  readonly retainBytesMax?: number
  /** Age in ms up to which blocks are kept when `trim` runs; any age by default. */
  readonly retainMillis?: number
  readonly limits?: Partial<typeof embeddedLimits>
}

/** Upkeep of the embedded log that Kafka does by itself. */
export class EmbeddedLogUpkeep extends Context.Tag("groundstate/services/ingest/EmbeddedLogUpkeep")<
  EmbeddedLogUpkeep,
  {
    /** Removes whole blocks from the front of each partition as the retention says; answers how many. */
    readonly trim: Effect.Effect<number, LogUnavailable>
    /** Offsets that readers committed, for display. */
    readonly committed: (
      stream: string,
      topic: string
    ) => Effect.Effect<ReadonlyMap<number, number>, LogUnavailable>
  }
>() {}

const tables = [
  `CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS partitions (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, earliest INTEGER NOT NULL, latest INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS blocks (
    id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, partition INTEGER NOT NULL, base INTEGER NOT NULL,
    count INTEGER NOT NULL, appended INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL)`,
  "CREATE UNIQUE INDEX IF NOT EXISTS blocks_by_base ON blocks (topic, partition, base, count, size)",
  `CREATE TABLE IF NOT EXISTS commits (
    stream TEXT NOT NULL, topic INTEGER NOT NULL, partition INTEGER NOT NULL, epoch INTEGER NOT NULL,
    next INTEGER NOT NULL, PRIMARY KEY (stream, topic, partition)) WITHOUT ROWID`
]

/** The records of one group that go to one partition. */
interface Stretch {
  readonly topic: number
  readonly partition: number
  readonly records: Array<BlockRecord>
  /** Where the offset of `records[i]` is told: `answers[i][indexes[i]]`. */
  readonly answers: Array<Array<Appended>>
  readonly indexes: Array<number>
  /** As stored; undefined until then. */
  block: TailBlock | undefined
}

/** More than any topic has partitions. */
const PARTITIONS_MAX = 2 ** 20

const moveEnd = "UPDATE partitions SET latest = latest + ? WHERE topic = ? AND partition = ? RETURNING latest"
/** Behind what was the end: its base is the new end less its own records. */
const addBlock = `INSERT INTO blocks (topic, partition, base, count, appended, size, data)
  SELECT topic, partition, latest - ?, ?, ?, ?, ? FROM partitions WHERE topic = ? AND partition = ?`

interface Topic {
  readonly id: number
  readonly partitions: number
}

const make = (options: EmbeddedLogOptions) =>
  Effect.gen(function* () {
    const limits = { ...embeddedLimits, ...options.limits }
    const { atomically, sql } = yield* makeSqliteThread({
      filename: options.filename,
      pragmas: [`busy_timeout = ${limits.busyMillis}`, `synchronous = ${options.synchronous}`]
    })
    yield* Effect.forEach(tables, (statement) => sql.unsafe(statement), { discard: true })
    yield* keepWalShort(sql, options.filename)

    const known = new Map<string, Topic>()
    const lookUp = (name: string, operation: LogUnavailable["operation"]) =>
      Effect.suspend(() => {
        const topic = known.get(name)
        if (topic !== undefined) return Effect.succeed(topic)
        return orUnavailable(
          name,
          operation
        )(
          Effect.flatMap(sql<Topic>`SELECT id, partitions FROM topics WHERE name = ${name}`, ([row]) => {
            if (row === undefined) {
              return Effect.fail(
                new LogUnavailable({ topic: name, operation, detail: "there is no such topic" })
              )
            }
            known.set(name, row)
            return Effect.succeed(row)
          })
        )
      })

    /** The ends of the partitions that are read now, by topic and partition, and by how many readers. */
    const tails = new Map<number, { readonly tail: LogTail; readers: number }>()
    const placeOf = (topic: number, partition: number) => topic * PARTITIONS_MAX + partition

    // SQLite's data version moves only when another connection commits.
    let version = -1
    const seen = sql<{ data_version: number }>`PRAGMA data_version`
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.gen(function* () {
          const [{ data_version }] = yield* seen
          if (version !== data_version) {
            version = data_version
            for (const { tail } of tails.values()) tail.wake(true)
          }
        }).pipe(
          Effect.ignore,
          Effect.zipRight(Effect.sleep(limits.pollMillis)),
          Effect.zipRight(Clock.currentTimeMillis),
          Effect.tap((now) => {
            for (const { tail } of tails.values()) tail.expire(now)
          })
        )
      )
    )

    const statementsOf = ({ partition, records, topic }: Stretch, data: Uint8Array, now: number) => {
      const { length } = records
      return [
        { text: moveEnd, values: [length, topic, partition] },
        { text: addBlock, values: [length, length, now, data.length, data, topic, partition] }
      ]
    }

    /** One transaction, and one message to the thread that writes: it waits for the disk alone. */
    const store = (stretches: ReadonlyArray<Stretch>, now: number) =>
      Effect.suspend(() => {
        const blocks = stretches.map(({ records }) => encodeBlock(records))
        const statements: Array<SqliteStatement> = []
        stretches.forEach((stretch, i) => {
          statements.push(...statementsOf(stretch, blocks[i], now))
        })
        return Effect.map(atomically(statements), (answer) => {
          stretches.forEach((stretch, i) => {
            const [{ latest }] = answer[2 * i] as ReadonlyArray<{ readonly latest: number }>
            const count = stretch.records.length
            stretch.block = { base: latest - count, count, data: blocks[i] }
          })
        })
      }).pipe(Effect.uninterruptible)

    const stretchesOf = (
      group: ReadonlyArray<PendingAppend>,
      answers: ReadonlyArray<Array<Appended>>,
      now: number
    ): Map<number, Stretch> => {
      const stretches = new Map<number, Stretch>()
      group.forEach((append, g) => {
        const topic = (known.get(append.topic) as Topic).id
        append.records.forEach((record, index) => {
          const partition = append.partitions[index]
          const place = placeOf(topic, partition)
          let stretch = stretches.get(place)
          if (stretch === undefined) {
            stretch = { topic, partition, records: [], answers: [], indexes: [], block: undefined }
            stretches.set(place, stretch)
          }
          stretch.records.push({
            key: record.key,
            value: record.value,
            headers: lowerHeaders(record.headers),
            timestamp: record.timestamp ?? now
          })
          stretch.answers.push(answers[g])
          stretch.indexes.push(index)
        })
      })
      return stretches
    }

    /** Tells offsets to those who appended, and readers that there is more. */
    const publish = (
      group: ReadonlyArray<PendingAppend>,
      answers: ReadonlyArray<Array<Appended>>,
      stretches: ReadonlyMap<number, Stretch>
    ) => {
      for (const stretch of stretches.values()) {
        const { base } = stretch.block as TailBlock
        stretch.answers.forEach((told, i) => {
          told[stretch.indexes[i]] = { partition: stretch.partition, offset: base + i }
        })
      }
      group.forEach((append, g) => {
        append.done(Exit.succeed(answers[g]))
      })
      for (const [place, { block }] of stretches) {
        const held = tails.get(place)
        held?.tail.push(block as TailBlock)
        held?.tail.wake(false)
      }
    }

    let refused = false
    /** A full disk lets a log be read as ever: only writing tells. */
    const room = sql`INSERT OR REPLACE INTO room (id, data) VALUES (1, zeroblob(${limits.roomBytes}))`.pipe(
      Effect.zipRight(sql`DELETE FROM room`),
      Effect.zipRight(Effect.sync(() => void (refused = false)))
    )
    const there = Effect.suspend(() => (refused ? room : sql`SELECT count(*) FROM topics`))

    const write = (group: ReadonlyArray<PendingAppend>): Effect.Effect<void> =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const answers = group.map((append) => new Array<Appended>(append.records.length))
        const stretches = stretchesOf(group, answers, now)
        const exit = yield* Effect.exit(store([...stretches.values()], now))
        refused = Exit.isFailure(exit)
        if (Exit.isSuccess(exit)) return publish(group, answers, stretches)
        const detail = exit.cause._tag === "Fail" ? sqlDetail(exit.cause.error) : "the writer was stopped"
        for (const { done, topic } of group) {
          done(Exit.fail(new LogUnavailable({ topic, operation: "append", detail })))
        }
      })

    const commitGroup = yield* makeGroupCommit(limits, write)
    const place = makePlacement()

    const appendTo = (topic: string, records: ReadonlyArray<NewRecord>, { partitions }: Topic) =>
      records.length === 0
        ? Effect.succeed([])
        : Effect.flatMap(place(topic, records, partitions), (places) => commitGroup(topic, records, places))
    const append = (topic: string, records: ReadonlyArray<NewRecord>) => {
      const found = known.get(topic)
      return found === undefined
        ? Effect.flatMap(lookUp(topic, "append"), (looked) => appendTo(topic, records, looked))
        : appendTo(topic, records, found)
    }

    /** Kept while somebody reads: a look at a topic must not hold its end in memory for good. */
    const tailOf = (topic: number, partition: number) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const place = placeOf(topic, partition)
          const held = tails.get(place) ?? { tail: makeLogTail(limits.tailBytesMax), readers: 0 }
          tails.set(place, held)
          held.readers++
          return held
        }),
        (held) =>
          Effect.sync(() => {
            if (--held.readers === 0) tails.delete(placeOf(topic, partition))
          })
      )
    const open: (typeof EventLog.Service)["open"] = (opening) =>
      Effect.flatMap(lookUp(opening.topic, "read"), ({ id }) =>
        Effect.flatMap(tailOf(id, opening.partition), ({ tail }) =>
          openEmbeddedReader(sql, tail, limits, id, opening)
        )
      )

    const partitions = (topic: string) => Effect.map(lookUp(topic, "describe"), (found) => found.partitions)

    const log: typeof EventLog.Service = {
      ensureTopic: (topic, wanted) =>
        orUnavailable(
          topic,
          "create"
        )(
          Effect.zipRight(
            sql.withTransaction(
              Effect.gen(function* () {
                const made =
                  yield* sql<Topic>`INSERT INTO topics (name, partitions) VALUES (${topic}, ${wanted})
                  ON CONFLICT (name) DO NOTHING RETURNING id, partitions`
                for (const { id } of made) {
                  for (let partition = 0; partition < wanted; partition++) {
                    yield* sql`INSERT INTO partitions (topic, partition, earliest, latest)
                      VALUES (${id}, ${partition}, 0, 0)`
                  }
                }
              })
            ),
            Effect.map(lookUp(topic, "create"), (found) => found.partitions)
          )
        ),
      partitions,
      append,
      open,
      ping: orUnavailable("(all)", "describe")(Effect.asVoid(there))
    }

    const trim = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      let removed = 0
      const parts = yield* sql<{
        topic: number
        partition: number
        latest: number
      }>`SELECT topic, partition, latest
        FROM partitions`
      for (const { latest, partition, topic } of parts) {
        removed += yield* sql.withTransaction(
          Effect.gen(function* () {
            // Takes the write lock first; the numbers read after it cannot move.
            yield* sql`UPDATE partitions SET earliest = earliest WHERE topic = ${topic} AND partition = ${partition}`
            const blocks = yield* sql<{
              base: number
              count: number
              size: number
              appended: number
            }>`SELECT base,
              count, size, appended FROM blocks WHERE topic = ${topic} AND partition = ${partition} ORDER BY base`
            let bytes = blocks.reduce((sum, block) => sum + block.size, 0)
            let gone = 0
            for (const block of blocks) {
              const tooOld = options.retainMillis !== undefined && block.appended < now - options.retainMillis
              if (!tooOld && bytes <= (options.retainBytesMax ?? Number.POSITIVE_INFINITY)) break
              bytes -= block.size
              gone++
            }
            if (gone === 0) return 0
            const earliest = gone < blocks.length ? blocks[gone].base : latest
            yield* sql`DELETE FROM blocks WHERE topic = ${topic} AND partition = ${partition} AND base < ${earliest}`
            yield* sql`UPDATE partitions SET earliest = ${earliest} WHERE topic = ${topic} AND partition = ${partition}`
            return gone
          })
        )
      }
      return removed
    })

    const upkeep: typeof EmbeddedLogUpkeep.Service = {
      trim: orUnavailable("(all)", "describe")(trim),
      committed: (stream, topic) =>
        orUnavailable(
          topic,
          "describe"
        )(
          Effect.gen(function* () {
            const { id } = yield* lookUp(topic, "describe")
            const rows = yield* sql<{ partition: number; next: number }>`SELECT partition, next FROM commits
              WHERE stream = ${stream} AND topic = ${id}`
            return new Map(rows.map((row) => [row.partition, row.next]))
          })
        )
    }
    return Context.make(EventLog, log).pipe(
      Context.add(EventSource, { partitions, open }),
      Context.add(EmbeddedLogUpkeep, upkeep)
    )
  })

/** The log in `filename`. Fails to build where the file cannot be opened as a database. */
export const EmbeddedLog = {
  layer: (
    options: EmbeddedLogOptions
  ): Layer.Layer<EventLog | EventSource | EmbeddedLogUpkeep, LogUnavailable> =>
    Layer.scopedContext(
      make(options).pipe(
        Effect.catchTag("SqlError", (error) =>
          Effect.fail(
            new LogUnavailable({
              topic: "(all)",
              operation: "create",
              detail: `${options.filename} could not be opened: ${sqlDetail(error)}`
            })
          )
        )
      )
    ).pipe(Layer.provide(Reactivity.layer))
}
