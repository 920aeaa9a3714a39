// Offers nothing.
export const answer = 42;
