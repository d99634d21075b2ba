// What decoding is given from outside, and its fixed bounds; the scanner and the strict parser share them.
import type { Interner } from "../../schema/event/Batch.ts"

/** `devices` never fills up; one interner per categorical column, in the plan's order. */
export interface EventInterners {
  readonly devices: Interner
  readonly categories: ReadonlyArray<Interner>
}

export interface DecodeLimits {
  /** A larger record is refused before anything looks at it. */
  readonly eventBytesMax: number
  /** Containers open at once, the event itself being the first. */
  readonly depthMax: number
}

/** 1 MiB and 32 levels. */
export const defaultDecodeLimits: DecodeLimits = { eventBytesMax: 1_048_576, depthMax: 32 }

/** UTF-8 bytes of a device's and of an event's id. */
export const DEVICE_BYTES_MAX = 512
export const ID_BYTES_MAX = 256

/** Longer texts of a category are not kept: they count as `other` (0). Bounds what a full dictionary weighs. */
export const CATEGORY_BYTES_MAX = 1_024

/** Largest epoch ms that a JavaScript Date can hold (ECMA-262). */
export const TIME_MILLIS_MAX = 8.64e15
