// Bounds of the runner's configuration that concern several keys at once; each names the key to change.
import { Redacted } from "effect"
import type { RunnerConfig } from "./Settings.ts"

/** A relation that does not hold. */
export interface RelationProblem {
  readonly path: ReadonlyArray<string>
  readonly message: string
  readonly fix: string
}

const MEBIBYTE = 1024 * 1024
/** A body is held in memory whole. */
export const BODY_BYTES_LIMIT = 256 * MEBIBYTE

/** Ids of alerts must outlive every replay of a cell's tail, milliseconds. */
export const KEEP_LEAST = 3_600_000

const isPostgresUrl = (text: string): boolean => {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return /^postgres(ql)?:$/.test(url.protocol) && url.hostname !== "" && url.pathname.length > 1
}

/** Addresses that only this machine reaches. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host)

/** Whether requests need a token. */
export const hasTokens = ({ access }: RunnerConfig): boolean =>
  access.tokensFile !== undefined || access.jwt !== undefined

/** What does not fit together; empty where all does. */
export const relationProblems = (config: RunnerConfig): ReadonlyArray<RelationProblem> => {
  const { access, cell, database, device, http, log } = config
  const problems: Array<RelationProblem> = []
  const need = (holds: boolean, key: string, message: string, fix: string) => {
    if (!holds) problems.push({ path: key.split("."), message, fix })
  }
  need(
    cell.fetchBytesMax >= cell.eventBytesMax,
    "cell.fetchBytesMax",
    `${cell.fetchBytesMax} is less than cell.eventBytesMax (${cell.eventBytesMax}): an event could be larger than a fetch`,
    `write at least ${cell.eventBytesMax}, or lower cell.eventBytesMax`
  )
  need(
    cell.restartDelayMin <= cell.restartDelayMax,
    "cell.restartDelayMin",
    `${cell.restartDelayMin}ms is more than cell.restartDelayMax (${cell.restartDelayMax}ms)`,
    `write at most ${cell.restartDelayMax}ms, or raise cell.restartDelayMax`
  )
  need(
    cell.restartDelayMin > 0,
    "cell.restartDelayMin",
    "a cell that fails would start again without a pause",
    "write at least 1ms"
  )
  need(
    cell.checkpointEvery > 0,
    "cell.checkpointEvery",
    "checkpoints would follow each other without a pause",
    "write at least 1ms"
  )
  need(
    cell.idleWait > 0,
    "cell.idleWait",
    "an idle cell would ask the log without a pause",
    "write at least 1ms"
  )
  need(
    cell.checkpointEventsMax >= cell.batchEventsMax,
    "cell.checkpointEventsMax",
    `${cell.checkpointEventsMax} is less than cell.batchEventsMax (${cell.batchEventsMax}): every batch would wait for a checkpoint`,
    `write at least ${cell.batchEventsMax}`
  )
  need(
    http.bodyBytesMax <= BODY_BYTES_LIMIT,
    "http.bodyBytesMax",
    `${http.bodyBytesMax} is more than 256 MiB: a body is held in memory whole`,
    `write at most ${BODY_BYTES_LIMIT}, and send larger files in batches`
  )
  need(
    http.pendingBytesMax >= http.bodyBytesMax,
    "http.pendingBytesMax",
    `${http.pendingBytesMax} is less than http.bodyBytesMax (${http.bodyBytesMax}): the largest body could never be accepted`,
    `write at least ${http.bodyBytesMax}`
  )
  need(
    http.headersTimeout <= http.requestTimeout,
    "http.headersTimeout",
    `${http.headersTimeout}ms is more than http.requestTimeout (${http.requestTimeout}ms)`,
    `write at most ${http.requestTimeout}ms`
  )
  need(
    http.headersTimeout > 0,
    "http.headersTimeout",
    "0ms would let a client hold a connection for ever",
    "write at least 1ms"
  )
  need(
    http.sseClientsMax <= http.connectionsMax,
    "http.sseClientsMax",
    `${http.sseClientsMax} is more than http.connectionsMax (${http.connectionsMax})`,
    `write at most ${http.connectionsMax}`
  )
  need(
    device.keep >= KEEP_LEAST,
    "device.keep",
    `${device.keep}ms is less than an hour: a cell that reads its last minutes again could take an alert for new`,
    "write at least 1h"
  )
  need(
    hasTokens(config) || access.open || isLoopback(http.host),
    "http.host",
    `${http.host} may be reached by others, and nothing says who may ask`,
    "make tokens (`groundstate tokens create --role admin --name NAME --file tokens.json`, then `access: { tokensFile: tokens.json }`), or write 127.0.0.1; `access: { open: true }` declares that everybody may do everything"
  )
  need(
    !(hasTokens(config) && access.open),
    "access.open",
    "it says that everybody may do everything, and there are tokens as well",
    "remove access.open, or access.tokensFile and access.jwt"
  )
  need(
    log.kind !== "kafka" || log.kafka !== undefined,
    "log.kafka",
    "log.kind is kafka and no brokers are named",
    "add log.kafka.brokers, for example `kafka: { brokers: [127.0.0.1:9092] }`"
  )
  need(
    database.kind !== "postgres" || database.postgres !== undefined,
    "database.postgres",
    "database.kind is postgres and no database is named",
    "add database.postgres, for example `postgres: { host: 127.0.0.1, database: groundstate, user: groundstate }`"
  )
  const { postgres } = database
  if (postgres !== undefined) {
    const fields = [postgres.host, postgres.database, postgres.user]
    need(
      postgres.url !== undefined || fields.every((field) => field !== undefined),
      "database.postgres",
      "it names neither a url nor all of host, database and user",
      "write database.postgres.url, or host, database and user"
    )
    need(
      postgres.url === undefined || [...fields, postgres.password].every((field) => field === undefined),
      "database.postgres",
      "it names a url and some of host, database, user and password as well",
      "keep the url alone, or the other four"
    )
    need(
      postgres.url === undefined || isPostgresUrl(Redacted.value(postgres.url)),
      "database.postgres.url",
      "it is no address of a PostgreSQL database",
      "write it as postgres://user:password@host:5432/database"
    )
    need(
      postgres.callTimeout >= 100,
      "database.postgres.callTimeout",
      `${postgres.callTimeout}ms is less than a statement may need`,
      "write at least 100ms"
    )
  }
  need(
    log.retainBytesMax >= cell.fetchBytesMax,
    "log.retainBytesMax",
    `${log.retainBytesMax} is less than cell.fetchBytesMax (${cell.fetchBytesMax}): the log could drop what a cell is reading`,
    `write at least ${cell.fetchBytesMax}`
  )
  return problems
}
