// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Synchronization with devices, and the feed of changes.


export {};
