// A process that consumes a topic with kafkajs and does nothing else: the limit of what a consumer can reach.
// Arguments: brokers topic events group. Prints {"seconds", "cpuSeconds"} from the first batch to the last.
import { Kafka, logLevel } from "kafkajs"

const [brokers, topic, events, groupId] = process.argv.slice(2)
const kafka = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING })
const consumer = kafka.consumer({ groupId, maxBytesPerPartition: 4 * 1_048_576 })
let seen = 0
let bytes = 0
let from = -1
let cpu = process.cpuUsage()
await consumer.connect()
await consumer.subscribe({ topic, fromBeginning: true })
await consumer.run({
  autoCommit: false,
  partitionsConsumedConcurrently: 8,
  eachBatch: async ({ batch }) => {
    if (from < 0) {
      from = performance.now()
      cpu = process.cpuUsage()
    }
    for (const message of batch.messages) bytes += message.value?.length ?? 0
    seen += batch.messages.length
    if (seen < Number(events)) return
    const used = process.cpuUsage(cpu)
    const seconds = (performance.now() - from) / 1_000
    process.stdout.write(
      `${JSON.stringify({ seconds, cpuSeconds: (used.user + used.system) / 1e6, seen, bytes })}\n`,
      () => process.exit(0)
    )
  }
})
