// Sliding windows over event time: a ring of six sub-buckets per device and window. A window covers the
// current sub-bucket and the five before it: between 5/6 of its declared length and all of it.
import { WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"

/** Number of the sub-bucket in which a time lies; `span` is the sub-bucket's length, both in ms. */
export const bucketOf = (time: number, span: number): number => Math.floor(time / span)

const ringOf = (bucket: number): number => bucket - WINDOW_BUCKETS * Math.floor(bucket / WINDOW_BUCKETS)

/** Empties the sub-buckets after `newest` up to `bucket`: time has moved on. */
export const advanceWindow = (ring: Float32Array, base: number, newest: number, bucket: number): void => {
  const steps = Math.min(WINDOW_BUCKETS, bucket - newest)
  for (let step = 0; step < steps; step++) ring[base + ringOf(bucket - step)] = 0
}

/**
 * The window's value at `bucket`, its newest sub-bucket being `newest`: the sub-buckets from bucket − 5 to
 * `bucket` that the ring still has. Changes nothing.
 */
export const windowAt = (ring: Float32Array, base: number, newest: number, bucket: number): number => {
  let sum = 0
  if (bucket === newest) {
    for (let at = 0; at < WINDOW_BUCKETS; at++) sum += ring[base + at]
    return sum
  }
  const first = Math.max(bucket, newest) - WINDOW_BUCKETS + 1
  const last = Math.min(bucket, newest)
  for (let at = first; at <= last; at++) sum += ring[base + ringOf(at)]
  return sum
}

/** Adds to the sub-bucket if the ring, whose newest is `newest`, still has it. */
export const addToWindow = (
  ring: Float32Array,
  base: number,
  newest: number,
  bucket: number,
  amount: number
): void => {
  if (bucket > newest - WINDOW_BUCKETS) ring[base + ringOf(bucket)] += amount
}

/** Length of a window's sub-bucket, ms. */
export const bucketSpan = (overMillis: number): number => overMillis / WINDOW_BUCKETS
