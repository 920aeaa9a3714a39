/** Offers no dataset. */
export const answer = 42;
