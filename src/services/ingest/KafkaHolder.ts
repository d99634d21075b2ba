// One connection to a cluster for many users, made anew after trouble.
import type { ClusterClient } from "./KafkaClient.ts"

/** A connection that is made when first needed and thrown away after trouble. */
export const makeHolder = (connect: () => Promise<ClusterClient>) => {
  let current: Promise<ClusterClient> | undefined
  return {
    get: (): Promise<ClusterClient> => {
      if (current !== undefined) return current
      const made = connect()
      current = made
      made.catch(() => {
        if (current === made) current = undefined
      })
      return made
    },
    discard: () => {
      current?.then(
        (made) => made.close(),
        () => undefined
      )
      current = undefined
    }
  }
}
