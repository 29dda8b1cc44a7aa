isthmus_fuzz(tokenizer_json_fuzz SRCS tokenizer_json_fuzz.cc DEPS model)
isthmus_fuzz(job_fuzz SRCS job_fuzz.cc DEPS job)
