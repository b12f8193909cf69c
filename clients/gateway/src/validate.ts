// Checks requests by their schemas.  What stands in a URL is text and becomes what the schema says;
// what stands in a body already has a type, and none is taken for another.
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import type { FastifySchemaCompiler } from 'fastify';

export function createValidatorCompiler(): FastifySchemaCompiler<object> {
	const ofUrl = withFormats(new Ajv({ coerceTypes: 'array', strict: false }));
	const ofBody = withFormats(new Ajv({ coerceTypes: false, strict: false }));

	return ({ schema, httpPart }) => (httpPart === 'body' ? ofBody : ofUrl).compile(schema);
}

function withFormats(ajv: Ajv): Ajv {
	formats.default(ajv);
	return ajv;
}
