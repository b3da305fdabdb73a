#!/bin/sh
# Prints without an end.
exec yes 'this is no answer'
