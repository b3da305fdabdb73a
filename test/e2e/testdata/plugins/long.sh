#!/bin/sh
# Ends well, after an answer that is too long.
head -c 1000000 /dev/zero | tr '\0' 'x'
