// Every bound and every choice of a runner, with its unit; the relations between them are checked at start.
import { Context, Schema } from "effect"
import { DurationText } from "../../schema/stream/StreamDefinition.ts"

const port = Schema.Int.pipe(Schema.between(0, 65_535))
const bytes = Schema.Int.pipe(Schema.positive())
const events = Schema.Int.pipe(Schema.positive())
const millis = (fallback: number) => Schema.optionalWith(DurationText, { default: () => fallback })
const section = <F extends Schema.Struct.Fields>(fields: F) => {
  const struct = Schema.Struct(fields)
  return Schema.optionalWith(struct, {
    default: () => Schema.decodeUnknownSync(struct as never)({}) as typeof struct.Type
  })
}

export const KafkaSettings = Schema.Struct({
  brokers: Schema.NonEmptyArray(Schema.NonEmptyString),
  clientId: Schema.optionalWith(Schema.NonEmptyString, { default: () => "groundstate" }),
  tls: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  sasl: Schema.optional(
    Schema.Struct({
      mechanism: Schema.Literal("plain", "scram-sha-256", "scram-sha-512"),
      username: Schema.NonEmptyString,
      password: Schema.Redacted(Schema.NonEmptyString)
    })
  ),
  /** How long a runner that starts waits for the brokers. */
  startTimeout: millis(60_000)
})

/** Either `url`, or `host`, `database` and `user`; the password may come from a file (`…_PASSWORD_FILE`). */
export const PostgresSettings = Schema.Struct({
  /** `postgres://user:password@host:port/database`. */
  url: Schema.optional(Schema.Redacted(Schema.NonEmptyString)),
  host: Schema.optional(Schema.NonEmptyString),
  port: Schema.optionalWith(Schema.Int.pipe(Schema.between(1, 65_535)), { default: () => 5_432 }),
  database: Schema.optional(Schema.NonEmptyString),
  user: Schema.optional(Schema.NonEmptyString),
  password: Schema.optional(Schema.Redacted(Schema.NonEmptyString)),
  tls: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Sessions of this runner for its state; a few more hold its place in the region. */
  connectionsMax: Schema.optionalWith(Schema.Int.pipe(Schema.between(2, 1_000)), { default: () => 10 }),
  /** No statement takes longer, and no transaction stands still for longer. */
  callTimeout: millis(5_000),
  /** How long a runner that starts waits for the database. */
  startTimeout: millis(60_000)
})
export type PostgresSettings = typeof PostgresSettings.Type

/** The runner's YAML file. Lengths of time are written `5s`; the decoded values are milliseconds. */
export const RunnerConfig = Schema.Struct({
  region: Schema.optionalWith(Schema.NonEmptyString, { default: () => "local" }),
  role: Schema.optionalWith(Schema.Literal("edge", "region"), { default: () => "edge" as const }),
  runner: Schema.optionalWith(Schema.NonEmptyString, { default: () => "runner-1" }),
  /** Folder of the embedded log, the state database and the models; relative to the configuration file. */
  dataDir: Schema.optionalWith(Schema.NonEmptyString, { default: () => "./groundstate-data" }),
  /** Files or globs of stream definitions; relative to the configuration file. */
  streams: Schema.optionalWith(Schema.Array(Schema.NonEmptyString), { default: () => ["streams/*.yaml"] }),
  log: section({
    kind: Schema.optionalWith(Schema.Literal("embedded", "kafka"), { default: () => "embedded" as const }),
    kafka: Schema.optional(KafkaSettings),
    /** `full` survives a power cut, `normal` a killed process. */
    durability: Schema.optionalWith(Schema.Literal("full", "normal"), { default: () => "full" as const }),
    retainBytesMax: Schema.optionalWith(bytes, { default: () => 16 * 1024 ** 3 })
  }),
  database: section({
    /** `sqlite`: a file of one runner, in dataDir. `postgres`: shared by the runners of a region. */
    kind: Schema.optionalWith(Schema.Literal("sqlite", "postgres"), { default: () => "sqlite" as const }),
    postgres: Schema.optional(PostgresSettings)
  }),
  /** Messages between the runners of a region; used with PostgreSQL alone. */
  cluster: section({
    /** Where the other runners reach this one: a name or address of this machine, not one of many. */
    host: Schema.optionalWith(Schema.NonEmptyString, { default: () => "127.0.0.1" }),
    port: Schema.optionalWith(Schema.Int.pipe(Schema.between(1, 65_535)), { default: () => 34_431 }),
    /** Where it listens, if that is another address of this machine. */
    listenHost: Schema.optional(Schema.NonEmptyString),
    /** Mutual TLS: this runner's certificate and key, and the authority of every runner's; PEM, relative to the file. */
    tls: Schema.optional(
      Schema.Struct({
        certificateFile: Schema.NonEmptyString,
        keyFile: Schema.NonEmptyString,
        authorityFile: Schema.NonEmptyString
      })
    ),
    /** How long a runner that is told to stop hands its cells over before it ends all the same. */
    drainTimeout: millis(10_000)
  }),
  http: section({
    host: Schema.optionalWith(Schema.NonEmptyString, { default: () => "127.0.0.1" }),
    /** 0 picks a free port. */
    port: Schema.optionalWith(port, { default: () => 8080 }),
    bodyBytesMax: Schema.optionalWith(bytes, { default: () => 8 * 1024 * 1024 }),
    rowsMax: Schema.optionalWith(events, { default: () => 10_000 }),
    /** Beyond them the one goes that has waited longest without a whole request. */
    connectionsMax: Schema.optionalWith(events, { default: () => 1_000 }),
    sseClientsMax: Schema.optionalWith(events, { default: () => 200 }),
    headersTimeout: millis(10_000),
    /** A request with its body must have arrived by then. */
    requestTimeout: millis(10_000),
    /** HTTPS: certificate and key in PEM, relative to the configuration file; read again when they change. */
    tls: Schema.optional(
      Schema.Struct({ certificateFile: Schema.NonEmptyString, keyFile: Schema.NonEmptyString })
    ),
    /** Bytes of accepted but not yet durable events; beyond them the answer is 429. */
    pendingBytesMax: Schema.optionalWith(bytes, { default: () => 64 * 1024 * 1024 })
  }),
  /** Who may ask this runner what. Without any of it: everybody, and only on an address of this machine alone. */
  access: section({
    /** File of tokens, as `groundstate tokens` writes it; relative to the configuration file. */
    tokensFile: Schema.optional(Schema.NonEmptyString),
    /** Tokens of an identity provider: signed JWTs (ES256) that name this region as their audience. */
    jwt: Schema.optional(
      Schema.Struct({
        issuer: Schema.NonEmptyString,
        /** The issuer's public keys as a JWKS; relative to the configuration file. */
        keysFile: Schema.NonEmptyString,
        /** What `aud` must name; `groundstate:<region>` without it. */
        audience: Schema.optional(Schema.NonEmptyString),
        rolesClaim: Schema.optionalWith(Schema.NonEmptyString, { default: () => "roles" }),
        nameClaim: Schema.optionalWith(Schema.NonEmptyString, { default: () => "sub" })
      })
    ),
    /** Declares that whoever reaches the address may do everything. */
    open: Schema.optionalWith(Schema.Boolean, { default: () => false }),
    /** Whether /metrics wants a token that may read, where there are tokens. */
    metrics: Schema.optionalWith(Schema.Literal("token", "open"), { default: () => "token" as const })
  }),
  cell: section({
    batchEventsMax: Schema.optionalWith(Schema.Int.pipe(Schema.between(16, 65_536)), {
      default: () => 1_024
    }),
    fetchBytesMax: Schema.optionalWith(bytes, { default: () => 4 * 1024 * 1024 }),
    eventBytesMax: Schema.optionalWith(bytes, { default: () => 1024 * 1024 }),
    depthMax: Schema.optionalWith(Schema.Int.pipe(Schema.between(2, 512)), { default: () => 32 }),
    checkpointEvery: millis(5_000),
    checkpointEventsMax: Schema.optionalWith(events, { default: () => 500_000 }),
    /** Held in memory, about 20 to 28 bytes each, for every partition. */
    dedupeEventsMax: Schema.optionalWith(Schema.Int.pipe(Schema.between(1, 16_777_216)), {
      default: () => 65_536
    }),
    idleWait: millis(250),
    /** A cell with events waiting that has not moved for so long, and waits for nothing that it knows of, starts again. */
    stallAfter: millis(30_000),
    restartDelayMin: millis(100),
    restartDelayMax: millis(10_000)
  }),
  score: section({
    /** Multiply-adds of a batch above which a model runs in a worker thread. */
    inlineCostMax: Schema.optionalWith(events, { default: () => 200_000_000 }),
    workerTimeout: millis(1_000),
    breakerFailures: Schema.optionalWith(events, { default: () => 2 }),
    /** From a breaker's opening to its first probe; the wait doubles up to 16 times this with each that fails. */
    breakerProbeEvery: millis(1_000)
  }),
  device: section({
    /** How long an actor that nobody asks stays in memory. */
    idle: millis(60_000),
    /** Actors in memory on a runner, about 30 KB each; beyond it the least recently used one leaves within seconds. */
    residentMax: Schema.optionalWith(Schema.Int.pipe(Schema.between(1, 100_000)), { default: () => 2_000 }),
    /** Event time after an incident's last alert until it is quiet is the stream's `quiet`; then until resolved: */
    resolveAfter: millis(3_600_000),
    /** How long past alerts, resolved incidents and devices with nothing else to remember are listed, by the wall clock. */
    keep: millis(90 * 86_400_000)
  }),
  telemetry: section({
    /** Base URL of an OTLP/HTTP collector, for example http://127.0.0.1:4318; none: nothing is sent. */
    otlpEndpoint: Schema.optional(Schema.NonEmptyString),
    logFormat: Schema.optionalWith(Schema.Literal("pretty", "json", "logfmt"), {
      default: () => "logfmt" as const
    }),
    logLevel: Schema.optionalWith(Schema.Literal("debug", "info", "warning", "error"), {
      default: () => "info" as const
    })
  })
})
export type RunnerConfig = typeof RunnerConfig.Type

/** The decoded configuration, with paths made absolute. */
export class Settings extends Context.Tag("groundstate/services/runtime/Settings")<
  Settings,
  RunnerConfig
>() {}

/** The configuration with every default: what an empty file means. */
export const defaultConfig: RunnerConfig = Schema.decodeUnknownSync(RunnerConfig)({})
