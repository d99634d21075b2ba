// Writes to a topic with Kafka's own Java client, so that readers meet what it really puts on the wire.
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { kafkaClassPath } from "./kafka.ts"

export interface JavaWrites {
  readonly topic: string
  /**
   * `batch`: 5,000 records `{"n":i,"text":…}`. `bomb`: `before`, 16 MiB of zeros, `after`. `transactions`: see
   * Producer.java.
   */
  readonly mode: "batch" | "bomb" | "transactions"
  /** Producer properties. */
  readonly settings: Readonly<Record<string, string>>
}

/** One after the other, in one process: starting Java takes seconds. Blocks until all is acknowledged. */
export const produceWithJava = (brokers: ReadonlyArray<string>, writes: ReadonlyArray<JavaWrites>): void => {
  execFileSync(
    "java",
    [
      "-cp",
      kafkaClassPath(),
      fileURLToPath(new URL("./Producer.java", import.meta.url)),
      brokers.join(","),
      ...writes.flatMap(({ topic, mode, settings }) => [
        topic,
        mode,
        ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
        "--"
      ])
    ],
    { stdio: ["ignore", "ignore", "pipe"] }
  )
}
