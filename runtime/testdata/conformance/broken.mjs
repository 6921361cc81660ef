throw new RangeError('cannot begin');
export const handler = async () => {};
