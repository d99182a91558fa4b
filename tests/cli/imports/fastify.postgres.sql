CREATE TYPE public.enum_t_task_runner_type AS ENUM (
    'manual',
    'system'
);
CREATE TYPE public.enum_t_task_status AS ENUM (
    'pending',
    'running',
    'waiting',
    'success',
    'failed',
    'canceled'
);
CREATE TABLE public.t_dead_letter (
    id bigint NOT NULL,
    original_id character varying(255) NOT NULL,
    topic character varying(255) NOT NULL,
    payload jsonb NOT NULL,
    error_message text,
    replayed boolean DEFAULT false NOT NULL,
    replayed_at timestamp with time zone,
    options jsonb,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);
CREATE TABLE public.t_message (
    id bigint NOT NULL,
    topic character varying(255) NOT NULL,
    payload jsonb NOT NULL,
    status character varying(255) DEFAULT 'PENDING'::character varying NOT NULL,
    retry_count integer DEFAULT 0 NOT NULL,
    max_retries integer DEFAULT 3 NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    execute_at timestamp with time zone,
    next_retry_at timestamp with time zone,
    consumer_id character varying(255),
    locked_at timestamp with time zone,
    trace_id character varying(255),
    options jsonb,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);
CREATE TABLE public.t_task (
    id bigint NOT NULL,
    type character varying(255),
    script_name character varying(255),
    target_id bigint NOT NULL,
    target_type character varying(255) NOT NULL,
    runner_type public.enum_t_task_runner_type DEFAULT 'manual'::public.enum_t_task_runner_type NOT NULL,
    priority integer DEFAULT 0,
    timeout integer DEFAULT 3600000 NOT NULL,
    parent_task_id bigint,
    retry_count integer DEFAULT 0,
    max_retries integer DEFAULT 0,
    start_time timestamp with time zone DEFAULT '2026-11-30 19:04:11.075+00'::timestamp with time zone,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    completed_user_id bigint,
    input json,
    output json,
    error json,
    status public.enum_t_task_status DEFAULT 'pending'::public.enum_t_task_status,
    context json DEFAULT '{}'::json,
    poll_results json DEFAULT '[]'::json,
    poll_count integer DEFAULT 0,
    progress integer DEFAULT 0,
    msg text,
    options json,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    user_id bigint
);
CREATE TABLE public.t_user (
    id bigint NOT NULL,
    nickname character varying(255),
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);
INSERT INTO public.t_dead_letter VALUES (385868634083296256, '385868634066519040', 'order.created', '{"orderId": "8"}', 'no stock', false, NULL, NULL, '2026-11-30 19:04:11.458+00', '2026-11-30 19:04:11.458+00', NULL);
INSERT INTO public.t_dead_letter VALUES (385868634167182336, '385868634150405120', 'order.created', '{"orderId": "9"}', 'no stock', true, '2026-11-30 19:04:11.486+00', NULL, '2026-11-30 19:04:11.478+00', '2026-11-30 19:04:11.486+00', NULL);
INSERT INTO public.t_message VALUES (385868633672254464, 'order.created', '{"note": "Grüße 你好", "amount": 99.9, "orderId": "1"}', 'PENDING', 0, 3, 0, NULL, NULL, NULL, NULL, 'trace-1', '{"source": "shop"}', '2026-11-30 19:04:11.358+00', '2026-11-30 19:04:11.358+00', NULL);
INSERT INTO public.t_message VALUES (385868633772917760, 'order.created', '{"orderId": "2"}', 'PENDING', 0, 5, 10, NULL, NULL, NULL, NULL, '69346cc9-223b-4750-a4a4-324c75d569e1', '{}', '2026-11-30 19:04:11.384+00', '2026-11-30 19:04:11.384+00', NULL);
INSERT INTO public.t_message VALUES (385868633802277888, 'order.timeout', '{"orderId": "3"}', 'PENDING', 0, 3, 0, '2030-01-03 00:00:00+00', NULL, NULL, NULL, 'd096a2a2-62d0-4c82-9e50-736b375d3d7e', '{}', '2026-11-30 19:04:11.391+00', '2026-11-30 19:04:11.391+00', NULL);
INSERT INTO public.t_message VALUES (385868633835832320, 'order.created', '{"orderId": "4"}', 'PROCESSING', 0, 3, 0, NULL, NULL, '4711_1767225600000', '2026-11-30 19:04:11.414+00', 'efdf8831-1bc5-4052-9402-28e1923c4dd0', '{}', '2026-11-30 19:04:11.399+00', '2026-11-30 19:04:11.415+00', NULL);
INSERT INTO public.t_message VALUES (385868633961661440, 'order.created', '{"orderId": "5"}', 'PENDING', 2, 3, 0, NULL, '2030-01-01 00:00:30+00', NULL, NULL, '0bba8645-d1f0-4647-bd3d-9ed2c1ebed08', '{}', '2026-11-30 19:04:11.429+00', '2026-11-30 19:04:11.432+00', NULL);
INSERT INTO public.t_message VALUES (385868633999410176, 'order.created', '{"orderId": "6"}', 'COMPLETED', 0, 3, 0, NULL, NULL, NULL, NULL, '523c3fb0-0a06-494f-8de0-b12ac043a561', '{}', '2026-11-30 19:04:11.438+00', '2026-11-30 19:04:11.442+00', NULL);
INSERT INTO public.t_message VALUES (385868634032964608, 'order.created', '{"orderId": "7"}', 'PENDING', 0, 3, 0, NULL, NULL, NULL, NULL, 'aa4b0de6-c0cd-490d-bfb0-e4ad866bb11c', '{}', '2026-11-30 19:04:11.446+00', '2026-11-30 19:04:11.45+00', '2026-11-30 19:04:11.45+00');
INSERT INTO public.t_message VALUES (385868634066519040, 'order.created', '{"orderId": "8"}', 'FAILED', 2, 3, 3, NULL, NULL, NULL, NULL, 'cb4d9b70-492a-44cd-ae20-2aac69741c4c', '{}', '2026-11-30 19:04:11.454+00', '2026-11-30 19:04:11.466+00', NULL);
INSERT INTO public.t_message VALUES (385868634150405120, 'order.created', '{"orderId": "9"}', 'FAILED', 2, 3, 3, NULL, NULL, NULL, NULL, 'c9bae454-b282-4b9f-843b-1c1baee857fe', '{}', '2026-11-30 19:04:11.474+00', '2026-11-30 19:04:11.482+00', NULL);
INSERT INTO public.t_message VALUES (385868634217513984, 'order.created', '["a", "list"]', 'PENDING', 0, 3, 0, NULL, NULL, NULL, NULL, 'd3c3a731-4c80-4852-8a67-c3852f5c391d', '{}', '2026-11-30 19:04:11.49+00', '2026-11-30 19:04:11.49+00', NULL);
INSERT INTO public.t_task VALUES (385868634288817152, 'document.export', 'index', 100, 'document', 'system', 7, 60000, NULL, 0, 4, '2026-11-30 19:04:11.506+00', NULL, NULL, NULL, '{"name":"report"}', NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, '{"notify":true}', '2026-11-30 19:04:11.507+00', '2026-11-30 19:04:11.507+00', NULL, 385868634272039936);
INSERT INTO public.t_task VALUES (385868634339148800, 'document.export', NULL, 101, 'document', 'system', 0, 3600000, 385868634288817152, 0, 0, '2026-11-30 19:04:11.518+00', NULL, NULL, NULL, '{"name":"child"}', NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.519+00', '2026-11-30 19:04:11.519+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634347537408, 'document.export', NULL, 102, 'document', 'system', 0, 3600000, NULL, 0, 0, '2030-01-03 00:00:00+00', NULL, NULL, NULL, '{"name":"later"}', NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.521+00', '2026-11-30 19:04:11.521+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634368508928, 'document.export', NULL, 103, 'document', 'system', 0, 3600000, NULL, 1, 3, '2026-11-30 19:04:11.526+00', '2026-11-30 19:04:11.53+00', NULL, NULL, '{"name":"running"}', NULL, NULL, 'running', '{}', '[]', 0, 40, NULL, NULL, '2026-11-30 19:04:11.526+00', '2026-11-30 19:04:11.53+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634418840576, 'document.export', NULL, 104, 'document', 'system', 0, 3600000, NULL, 0, 0, '2026-11-30 19:04:11.538+00', '2026-11-30 19:04:11.541+00', NULL, NULL, '{"name":"waiting"}', NULL, NULL, 'waiting', '{"secret":"not-a-real-secret"}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.538+00', '2026-11-30 19:04:11.541+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634452395008, 'contract.sign', NULL, 105, 'contract', 'manual', 0, 3600000, NULL, 0, 0, '2026-11-30 19:04:11.546+00', NULL, NULL, NULL, NULL, NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.546+00', '2026-11-30 19:04:11.546+00', NULL, 385868634272039936);
INSERT INTO public.t_task VALUES (385868634469172224, 'document.export', NULL, 106, 'document', 'system', 0, 3600000, NULL, 2, 1, '2026-11-30 19:04:11.55+00', '2026-11-30 19:04:11.558+00', '2026-11-30 19:04:11.558+00', NULL, '{"name":"failed"}', NULL, '"Error: no disk\n    at run (/server/x.js:1:1)"', 'failed', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.55+00', '2026-11-30 19:04:11.558+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634536281088, 'document.export', NULL, 107, 'document', 'system', 0, 3600000, 385868634469172224, 0, 0, '2026-11-30 19:04:11.566+00', NULL, NULL, NULL, '{"name":"orphan"}', NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.566+00', '2026-11-30 19:04:11.566+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634553058304, 'document.export', NULL, 108, 'document', 'system', 0, 3600000, NULL, 0, 0, '2026-11-30 19:04:11.57+00', '2026-11-30 19:04:11.578+00', '2026-11-30 19:04:11.578+00', NULL, '{"name":"done"}', '{"ok":true}', NULL, 'success', '{}', '[]', 0, 100, NULL, NULL, '2026-11-30 19:04:11.57+00', '2026-11-30 19:04:11.578+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634611778560, 'document.export', NULL, 109, 'document', 'system', 0, 3600000, 385868634553058304, 0, 0, '2026-11-30 19:04:11.584+00', NULL, NULL, NULL, '{"name":"heir"}', NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.584+00', '2026-11-30 19:04:11.584+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634636944384, 'document.export', NULL, 110, 'document', 'system', 0, 3600000, NULL, 0, 0, '2026-11-30 19:04:11.59+00', NULL, '2026-11-30 19:04:11.598+00', NULL, NULL, NULL, NULL, 'canceled', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.59+00', '2026-11-30 19:04:11.598+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634687276032, 'nobody.runs.this', NULL, 111, 'document', 'system', 0, 3600000, NULL, 0, 0, '2026-11-30 19:04:11.602+00', NULL, NULL, NULL, '{}', NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.602+00', '2026-11-30 19:04:11.602+00', NULL, NULL);
INSERT INTO public.t_task VALUES (385868634716636160, 'document.export', NULL, 112, 'document', 'system', 2147483647, 3600000, NULL, 0, 0, '2026-11-30 19:04:11.608+00', NULL, NULL, NULL, '{"name":"urgent"}', NULL, NULL, 'pending', '{}', '[]', 0, 0, NULL, NULL, '2026-11-30 19:04:11.608+00', '2026-11-30 19:04:11.608+00', NULL, NULL);
INSERT INTO public.t_user VALUES (385868634272039936, 'ann', '2026-11-30 19:04:11.503+00', '2026-11-30 19:04:11.503+00', NULL);
ALTER TABLE ONLY public.t_dead_letter
    ADD CONSTRAINT t_dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.t_message
    ADD CONSTRAINT t_message_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.t_task
    ADD CONSTRAINT t_task_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.t_user
    ADD CONSTRAINT t_user_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.t_task
    ADD CONSTRAINT t_task_parent_task_id_fkey FOREIGN KEY (parent_task_id) REFERENCES public.t_task(id) ON UPDATE CASCADE ON DELETE SET NULL;
ALTER TABLE ONLY public.t_task
    ADD CONSTRAINT t_task_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.t_user(id) ON UPDATE CASCADE ON DELETE SET NULL;
