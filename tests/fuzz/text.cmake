isthmus_fuzz(job_fuzz SRCS job_fuzz.cc DEPS job)
