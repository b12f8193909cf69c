// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Search in messages, and the list of conversations with filters.


export {};
