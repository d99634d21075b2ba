// The tables of the tidy test: who may import whom, and every exception with its reason. The only file to edit.

/** Folders of src/schema in order: each may import itself and those before it. */
export const schemaOrder = [
  "Ids.ts",
  "stream",
  "event",
  "model",
  "verdict",
  "respond",
  "audit",
  "error",
  "protocol",
  "api"
] as const

/** What src/schema may take from packages: contract constructors. `effect` itself is free. */
export const schemaPackages: ReadonlyMap<string, RegExp> = new Map([
  ["@effect/rpc", /^(Rpc|RpcGroup|RpcSchema)$/],
  ["@effect/cluster", /^(Entity|ClusterSchema)$/],
  ["@effect/platform", /^(HttpApi\w*|OpenApi|Multipart)$/]
])

/** What each folder of src/services may import besides src/schema and itself; a folder not named here gets `stage`. */
export const serviceImports: Readonly<Record<string, ReadonlyArray<string> | "all">> = {
  runtime: [],
  observe: ["runtime"],
  stage: ["runtime", "observe"],
  inspect: "all",
  cli: "all"
}

/** Folders of src/services; a new stage is a decision, so it is written down here. */
export const serviceFolders = [
  "runtime",
  "observe",
  "ingest",
  "state",
  "rule",
  "feature",
  "score",
  "decide",
  "model",
  "rollout",
  "respond",
  "replicate",
  "audit",
  "train",
  "inspect",
  "cli"
] as const

export const actorFolders = [
  "cell",
  "device",
  "incident",
  "region",
  "model",
  "playbook",
  "singleton"
] as const

/** Files, and folders ending in `/`, that put the others together and may import anything; nobody imports them. */
export const compositionFiles: ReadonlyArray<string> = ["src/main.ts", "src/programs/"]

/** Folders whose camelCase files are the data plane. */
export const hotFolders = [
  "src/services/ingest",
  "src/services/state",
  "src/services/rule",
  "src/services/feature",
  "src/services/score",
  "src/services/decide",
  "src/actors/cell"
] as const

export interface Exception {
  readonly file: string
  /** What is allowed there: an input, or the name of the rule's finding. */
  readonly what: string
  readonly reason: string
}

/** `process.env`, `Date.now`, `new Date()`, `Math.random`, `setTimeout`, `setInterval`: where, and why there. */
export const inputExceptions: ReadonlyArray<Exception> = [
  {
    file: "src/services/runtime/SettingsFile.ts",
    what: "process.env",
    reason: "the only reader of the environment; everyone else asks Settings"
  },
  {
    file: "src/services/ingest/KafkaFetcher.ts",
    what: "setTimeout",
    reason: "a fiber for each fetch costs more than the fetch; its tests own the time through fake timers"
  },
  {
    file: "src/services/runtime/walMain.ts",
    what: "setInterval",
    reason: "the entry of a thread that does one thing: there is no effect in it whose clock a test could own"
  }
]

/** Files of more than 400 lines, each with the reason why it is not two. */
export const sizeExceptions: ReadonlyArray<Exception> = []

/** Tests that wait on the real clock, because what they watch is another process. */
export const sleepExceptions: ReadonlyArray<Exception> = [
  {
    file: "test/support/postgres.ts",
    what: "setTimeout",
    reason: "polls a server that starts in its own process, with a deadline"
  },
  {
    file: "test/support/kafka.ts",
    what: "setTimeout",
    reason: "polls a broker that starts in its own process, with a deadline"
  },
  {
    file: "test/support/runner.ts",
    what: "setTimeout",
    reason: "polls a runner in its own process, with a deadline; and lets it run until the moment of a fault"
  }
]
