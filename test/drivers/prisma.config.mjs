import { defineConfig } from 'prisma/config';
import { url } from './check.mjs';

export default defineConfig({ schema: 'schema.prisma', datasource: { url } });
