// Numbers that arrive one by one, without a boxed value for each.

type Kind = Float32ArrayConstructor | Float64ArrayConstructor | Uint8ArrayConstructor

/** A typed array that doubles as it fills. */
export const makeGrowable = <K extends Kind>(kind: K) => {
  let values = new kind(1_024)
  let size = 0
  return {
    push: (value: number): void => {
      if (size === values.length) {
        const larger = new kind(size * 2)
        larger.set(values)
        values = larger
      }
      values[size++] = value
    },
    /** What has arrived; a view, valid until the next push. */
    view: (): InstanceType<K> => values.subarray(0, size) as InstanceType<K>
  }
}
