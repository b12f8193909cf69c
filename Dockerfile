# PostgreSQL with memory_ext.
#
#	docker build -t memory_ext .
#	docker run -e POSTGRES_PASSWORD=secret memory_ext
#	then, in psql: CREATE EXTENSION memory_ext;
#
# PG_MAJOR chooses the PostgreSQL, 15 to 18: docker build --build-arg PG_MAJOR=17 .
ARG PG_MAJOR=18
FROM postgres:${PG_MAJOR}-bookworm
ARG PG_MAJOR

COPY . /tmp/memory_ext
RUN apt-get update \
	&& apt-mark hold locales \
	&& apt-get install -y --no-install-recommends gcc libc6-dev libhiredis-dev liblz4-dev \
		libzstd-dev make "postgresql-server-dev-$PG_MAJOR" \
	&& make -C /tmp/memory_ext clean \
	&& make -C /tmp/memory_ext -j "$(nproc)" install \
	&& rm -rf /tmp/memory_ext \
	&& apt-get install -y --no-install-recommends libhiredis0.14 liblz4-1 libzstd1 \
	&& apt-get purge -y --auto-remove gcc libc6-dev libhiredis-dev liblz4-dev libzstd-dev make \
		"postgresql-server-dev-$PG_MAJOR" \
	&& apt-mark unhold locales \
	&& rm -rf /var/lib/apt/lists/*
